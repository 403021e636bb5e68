//! Reads the events of a stream (HTML standard, "Server-sent events"), from bytes as they come.
//! Browsers have a reader of their own; this one is for the native command and for Node.

use crate::{Code, Error, Result};
use alloc::{string::String, vec::Vec};

/// The largest event in bytes.
const MAX_EVENT: usize = 256 * 1024;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamEvent {
    /// Its name; empty for a message without one.
    pub name: String,
    /// Its data.
    pub data: String,
}

/// The reader.
///
/// ```
/// use kez_core::chat::EventReader;
/// let mut reader = EventReader::default();
/// assert!(reader.push(b"retry: 1000\n\n:\n\nevent: item\nda")?.is_empty());
/// let events = reader.push(b"ta: {}\n\n")?;
/// assert_eq!((&*events[0].name, &*events[0].data), ("item", "{}"));
/// assert_eq!(reader.retry_ms(), Some(1000));
/// # Ok::<(), kez_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    event: StreamEvent,
    has_data: bool,
    retry: Option<u64>,
    after_return: bool,
}

impl EventReader {
    /// Takes bytes, and gives the events that are complete with them.
    ///
    /// # Errors
    /// `body_too_large` for an event without end.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<StreamEvent>> {
        let mut events = Vec::new();
        for byte in bytes {
            let second = self.after_return && *byte == b'\n';
            self.after_return = *byte == b'\r';
            match byte {
                _ if second => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ => self.line.push(*byte),
            }
            if self.line.len() + self.event.data.len() > MAX_EVENT {
                return Err(Error::about(Code::BodyTooLarge, "an event of a stream"));
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Option<StreamEvent> {
        let line = core::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let event = core::mem::take(&mut self.event);
            return core::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.name = value.into(),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "retry" => self.retry = value.parse().ok().or(self.retry),
            _ => {}
        }
        None
    }

    /// After how many milliseconds to come back, if the stream told.
    #[must_use]
    pub const fn retry_ms(&self) -> Option<u64> {
        self.retry
    }
}
