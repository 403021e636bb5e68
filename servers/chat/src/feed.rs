//! What a stream sends next, decided without a clock, a socket or a lock, so that the tests can
//! try every order of things.
//!
//! A stream subscribes first and reads then, so nothing falls between; what comes both ways is
//! sent once, by its position; and whatever is missing is read from the storage, which is the
//! truth. What the broker says is a hint alone.

/// What to do about an item that the broker told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send it.
    Send,
    /// It was sent already.
    Skip,
    /// Others before it were not told of: read from the storage.
    Read,
}

/// One reader of an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The position of the last item that was sent.
    sent: u64,
}

impl Feed {
    /// A reader who has everything up to a position.
    #[must_use]
    pub const fn since(sent: u64) -> Self {
        Self { sent }
    }

    /// From where to read.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.sent
    }

    /// The broker told of an item.
    #[must_use]
    pub const fn told(&mut self, position: u64) -> Step {
        if position <= self.sent {
            Step::Skip
        } else if position == self.sent + 1 {
            self.sent = position;
            Step::Send
        } else {
            Step::Read
        }
    }

    /// The storage gave an item, in order. Whether to send it: positions that are gone from the
    /// storage (all devices had acknowledged them) are passed over.
    #[must_use]
    pub const fn read(&mut self, position: u64) -> bool {
        let new = position > self.sent;
        if new {
            self.sent = position;
        }
        new
    }

    /// The storage has nothing more up to a position.
    pub const fn complete(&mut self, position: u64) {
        if position > self.sent {
            self.sent = position;
        }
    }
}
