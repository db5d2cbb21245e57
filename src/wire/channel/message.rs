//! What a worker says over its channel.

use serde_json::Value;

use super::cluster::ClusterCall;

/// One line of a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// It asks its primary for something (`NODE_CLUSTER`).
    Cluster(ClusterCall),
    /// It has taken over the descriptor that was sent last (`NODE_HANDLE_ACK`).
    HandleTaken,
    /// Node's own, and nothing that is answered.
    Internal,
    /// What the program said.
    Said(Value),
}

impl Message {
    /// What a line says; none: it is no JSON.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let command = value.get("cmd").and_then(Value::as_str);
        Some(match command {
            Some("NODE_CLUSTER") => ClusterCall::of(&value).map_or(Self::Internal, Self::Cluster),
            Some("NODE_HANDLE_ACK") => Self::HandleTaken,
            Some(command) if command.starts_with("NODE_") => Self::Internal,
            Some(_) | None => Self::Said(value),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_program_says_is_told_from_what_node_says() {
        let parse = |line: &str| Message::parse(line.as_bytes());
        assert_eq!(parse("\"ready\""), Some(Message::Said("ready".into())));
        assert_eq!(
            parse(r#"{"cmd":"NODE_HANDLE_ACK"}"#),
            Some(Message::HandleTaken)
        );
        assert_eq!(parse(r#"{"cmd":"NODE_NEW"}"#), Some(Message::Internal));
        assert_eq!(parse(r#"{"cmd":"NODE_CLUSTER"}"#), Some(Message::Internal));
        let own = serde_json::json!({"cmd": "start", "seq": 1});
        assert_eq!(parse(&own.to_string()), Some(Message::Said(own)));
        assert_eq!(parse("{half"), None);
        assert_eq!(parse(""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_bad(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&bytes);
        }
    }
}
