//! Lines out of bytes that come in pieces.

use std::mem;

/// The longest line that is taken in, in bytes. What is longer is skipped up to its end.
pub const MAX_LINE_LEN: usize = 1 << 20;

/// Bytes that make no whole line yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    begun: Vec<u8>,
    state: State,
    /// Lines that were too long, since they were last asked for.
    skipped: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Reading,
    /// A line was too long: its rest is nobody's.
    Skipping,
}

impl Lines {
    /// Takes bytes in; the lines that they end, without their ends.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.extend(piece);
            if pieces.peek().is_some() {
                lines.extend(self.end());
            }
        }
        lines
    }

    /// How many lines were too long since the last call.
    pub fn take_skipped(&mut self) -> u64 {
        mem::take(&mut self.skipped)
    }

    fn extend(&mut self, piece: &[u8]) {
        match self.state {
            State::Skipping => {}
            State::Reading if self.begun.len() + piece.len() > MAX_LINE_LEN => {
                self.begun = Vec::new();
                self.state = State::Skipping;
                self.skipped += 1;
            }
            State::Reading => self.begun.extend_from_slice(piece),
        }
    }

    fn end(&mut self) -> Option<Vec<u8>> {
        let state = mem::take(&mut self.state);
        let line = mem::take(&mut self.begun);
        (state == State::Reading).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_that_is_too_long_takes_no_other_with_it() {
        let mut lines = Lines::default();
        assert!(lines.push(b"1\n").iter().eq([b"1"]));
        for _ in 0..3 {
            assert!(lines.push(&vec![b'x'; MAX_LINE_LEN / 2]).is_empty());
        }
        assert!(lines.begun.is_empty());
        assert!(lines.push(b"x\n2\n\n3").iter().eq([&b"2"[..], b""]));
        assert_eq!((lines.take_skipped(), lines.take_skipped()), (1, 0));
        assert!(lines.push(b"\n").iter().eq([b"3"]));
    }

    proptest! {
        /// However the bytes come.
        #[test]
        fn lines_do_not_depend_on_the_pieces(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cuts in prop::collection::vec(1_usize..20, 0..20),
        ) {
            let whole = Lines::default().push(&bytes);
            let mut lines = Lines::default();
            let (mut rest, mut found) = (&bytes[..], Vec::new());
            for cut in cuts {
                let (piece, next) = rest.split_at(cut.min(rest.len()));
                found.extend(lines.push(piece));
                rest = next;
            }
            found.extend(lines.push(rest));
            prop_assert_eq!(found, whole);
        }
    }
}
