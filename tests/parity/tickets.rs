//! How many programs work at once: a start of Helm keeps a processor busy, and two sides of five tests would be ten.

use std::sync::{Condvar, Mutex, PoisonError};

/// Programs that work at the same time.
const AT_ONCE: u32 = 4;

static FREE: (Mutex<u32>, Condvar) = (Mutex::new(AT_ONCE), Condvar::new());

/// The right to start a program; given back when dropped.
pub struct Ticket;

impl Ticket {
    /// Waits for its turn.
    pub fn take() -> Self {
        let free = FREE.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = FREE.1.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        *FREE.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREE.1.notify_one();
    }
}
