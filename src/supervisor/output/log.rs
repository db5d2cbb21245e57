//! Our log, until the loop has time to write it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// Our log's writer: it only puts the line in the queue.
#[derive(Clone, Debug, Default)]
pub struct LogQueue(Arc<Mutex<Vec<u8>>>);

impl Write for LogQueue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(mut queue) = self.0.lock() {
            queue.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogQueue {
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0
            .lock()
            .map(|mut queue| std::mem::take(&mut *queue))
            .unwrap_or_default()
    }
}
