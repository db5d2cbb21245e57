//! What concerns the workers' channel.

use crate::config::Channel;

/// `none`, `node` or `cluster`.
pub(crate) fn kind(text: &str) -> Result<Channel, String> {
    match text {
        "none" => Ok(Channel::None),
        "node" => Ok(Channel::Node),
        "cluster" => Ok(Channel::Cluster),
        _ => Err("give none, node or cluster".to_owned()),
    }
}

/// The longest message that is given by an option, in bytes.
const MAX_MESSAGE_LEN: usize = 1024;

/// A message over a channel.
pub(crate) fn message(text: &str) -> Result<String, String> {
    let is_one_line = !text.chars().any(char::is_control);
    match text.len() {
        1..=MAX_MESSAGE_LEN if is_one_line => Ok(text.to_owned()),
        _ => Err(format!(
            "give a line of 1 to {MAX_MESSAGE_LEN} bytes, such as shutdown"
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line() {
        assert_eq!(message("shutdown").unwrap(), "shutdown");
        for text in ["", "two\nlines", &"x".repeat(MAX_MESSAGE_LEN + 1)] {
            assert!(message(text).unwrap_err().contains("such as shutdown"));
        }
    }
}
