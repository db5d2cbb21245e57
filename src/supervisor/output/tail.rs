//! The last that a worker wrote, for the report of its end.

use std::collections::VecDeque;

/// How much of a worker's last output is remembered, in bytes.
const MAX_TAIL_LEN: usize = 2048;
/// How many lines of it are reported.
const MAX_TAIL_LINES: usize = 5;
/// How much of a line, in characters.
const MAX_TAIL_LINE_LEN: usize = 400;

#[derive(Debug, Default)]
pub(crate) struct Tail(VecDeque<u8>);

impl Tail {
    pub(crate) fn remember(&mut self, bytes: &[u8]) {
        self.0
            .extend(&bytes[bytes.len().saturating_sub(MAX_TAIL_LEN)..]);
        let excess = self.0.len().saturating_sub(MAX_TAIL_LEN);
        self.0.drain(..excess);
    }

    /// The last lines that are not empty.
    pub(crate) fn lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().map(str::trim_end);
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(MAX_TAIL_LINES)..];
        last.iter().map(|line| printable(line)).collect()
    }
}

/// Without what could confuse a terminal.
fn printable(line: &str) -> String {
    line.chars()
        .take(MAX_TAIL_LINE_LEN)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}
