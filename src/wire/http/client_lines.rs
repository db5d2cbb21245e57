//! Header lines that name the client of a request to a server that sees somebody else's address.

/// Lines to add to the end of each request's head. A list in several lines is one list (RFC 9110, 5.3), so a line
/// at the end names the last of those that the request has come by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientLines(Vec<ClientLine>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct ClientLine {
    name: &'static str,
    value: String,
    when: When,
}

/// Which requests get a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Every one.
    Always,
    /// One that has such a line already: it is the client's own, and a server must not take what it says for what
    /// we say.
    Present,
}

impl ClientLines {
    /// With one more line.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String, when: When) -> Self {
        self.0.push(ClientLine { name, value, when });
        self
    }

    /// The lines that a request with this head gets, each with its line end.
    pub fn for_request(&self, head: &[u8]) -> Vec<u8> {
        let wanted = self.0.iter().filter(|line| match line.when {
            When::Always => true,
            When::Present => has_line(head, line.name),
        });
        let text = wanted.map(|line| format!("{}: {}\r\n", line.name, line.value));
        text.collect::<String>().into_bytes()
    }
}

fn has_line(head: &[u8], name: &str) -> bool {
    head.split(|byte| *byte == b'\n').any(|line| {
        let found = line.split(|byte| *byte == b':').next().unwrap_or_default();
        found.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_added_always_or_where_the_client_has_one() {
        let lines = ClientLines::default()
            .with("X-Forwarded-For", "192.0.2.7".to_owned(), When::Present)
            .with("Forwarded", "for=192.0.2.7".to_owned(), When::Always);
        let added = |head: &str| String::from_utf8(lines.for_request(head.as_bytes()));
        assert_eq!(
            added("GET / HTTP/1.1\r\n\r\n").as_deref(),
            Ok("Forwarded: for=192.0.2.7\r\n")
        );
        let both = "X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.7\r\n";
        for own in ["x-forwarded-for: 127.0.0.1", "X-Forwarded-For : a"] {
            assert_eq!(
                added(&format!("GET / HTTP/1.1\r\n{own}\r\n\r\n")).as_deref(),
                Ok(both)
            );
        }
        assert!(
            ClientLines::default()
                .for_request(b"GET / HTTP/1.1\r\n\r\n")
                .is_empty()
        );
    }
}
