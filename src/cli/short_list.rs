//! Many numbers or addresses in the width of a column: `0.0.0.0:8000-8063`, `[::]:443 [::]:8443 and 6 more`.

/// The most characters of a list that is shown, but that one item is shown always.
const MAX_WIDTH: usize = 40;

/// So many in a row are shown as a range.
const MIN_RANGE_LEN: usize = 3;

/// Part of a list as it is shown, and how many it stands for.
type Item = (String, usize);

/// Addresses in their order, those of one host together.
pub(super) fn addresses<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let mut hosts: Vec<(&str, Vec<u64>)> = Vec::new();
    let mut items: Vec<Item> = Vec::new();
    for address in all {
        let parts = address.rsplit_once(':');
        let Some((host, port)) = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)))
        else {
            items.push((address.to_owned(), 1));
            continue;
        };
        match hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, ports)) => ports.push(port),
            None => hosts.push((host, vec![port])),
        }
    }
    for (host, ports) in hosts {
        let of_host = |(text, count): Item| (format!("{host}:{text}"), count);
        items.extend(ranges(ports).into_iter().map(of_host));
    }
    fitting(&items)
}

/// Numbers, in order.
pub(super) fn numbers(all: impl IntoIterator<Item = u64>) -> String {
    fitting(&ranges(all.into_iter().collect()))
}

fn ranges(mut numbers: Vec<u64>) -> Vec<Item> {
    numbers.sort_unstable();
    numbers.dedup();
    let in_a_row = numbers.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let items = in_a_row.flat_map(|run| match run {
        [first, .., last] if run.len() >= MIN_RANGE_LEN => {
            vec![(format!("{first}-{last}"), run.len())]
        }
        few => few.iter().map(|number| (number.to_string(), 1)).collect(),
    });
    items.collect()
}

/// What has room, and how many more there are.
fn fitting(items: &[Item]) -> String {
    let mut shown = String::new();
    let mut rest = items;
    while let [(text, _), others @ ..] = rest {
        let is_first = shown.is_empty();
        if !is_first && shown.chars().count() + 1 + text.chars().count() > MAX_WIDTH {
            break;
        }
        if !is_first {
            shown.push(' ');
        }
        shown.push_str(text);
        rest = others;
    }
    let left: usize = rest.iter().map(|(_, count)| count).sum();
    match (items, left) {
        ([], _) => "-".to_owned(),
        (_, 0) => shown,
        (_, left) => format!("{shown} and {left} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(all: &[String]) -> String {
        addresses(all.iter().map(String::as_str))
    }

    #[test]
    fn few_addresses_are_shown_as_they_are() {
        let few = ["0.0.0.0:8080", "[::]:8443"].map(str::to_owned);
        assert_eq!(shown(&few), "0.0.0.0:8080 [::]:8443");
        let odd = ["not an address", "[::1]:http"].map(str::to_owned);
        assert_eq!(shown(&odd), "not an address [::1]:http");
        assert_eq!(shown(&[]), "-");
    }

    #[test]
    fn ports_in_a_row_are_a_range() {
        let ports = (8000..8064).rev().map(|port| format!("0.0.0.0:{port}"));
        assert_eq!(shown(&ports.collect::<Vec<_>>()), "0.0.0.0:8000-8063");
    }

    #[test]
    fn of_many_addresses_there_are_some_and_the_number_of_the_others() {
        let ports = (0..64).map(|number| format!("10.0.0.1:{}", 8000 + 10 * number));
        let ports: Vec<String> = ports.collect();
        let text = shown(&ports);
        assert_eq!(text, "10.0.0.1:8000 10.0.0.1:8010 and 62 more");
        let ranges = ports
            .into_iter()
            .chain((1..100).map(|port| format!("[::]:{port}")));
        let text = shown(&ranges.collect::<Vec<_>>());
        assert_eq!(text, "10.0.0.1:8000 10.0.0.1:8010 and 161 more");
    }

    #[test]
    fn numbers_are_in_order() {
        assert_eq!(numbers([13, 12]), "12 13");
        assert_eq!(numbers((0..4096).chain([5000])), "0-4095 5000");
        assert_eq!(numbers([u64::MAX]), "18446744073709551615");
    }
}
