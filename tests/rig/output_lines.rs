//! What the processes said, kept until somebody wants to know.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex};
use std::thread;

/// Lines that were read from several pipes, in the order in which they came.
#[derive(Debug, Default)]
pub struct OutputLines {
    lines: Mutex<Vec<String>>,
}

impl OutputLines {
    /// Reads `pipe` to its end in a thread of its own, so that no writer ever blocks.
    pub fn follow(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let output_lines = Arc::clone(self);
        thread::spawn(move || {
            let mut lines = BufReader::new(pipe).split(b'\n');
            while let Some(Ok(line)) = lines.next() {
                output_lines.say(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }

    pub fn say(&self, line: String) {
        if let Ok(mut lines) = self.lines.lock() {
            lines.push(line);
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .map(|lines| lines.clone())
            .unwrap_or_default()
    }
}
