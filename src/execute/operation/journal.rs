//! Writes a journal while its operation runs: what comes together is sent together, and a write to the cluster waits until
//! its intent is there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::local::LocalCopy;
use super::store::{Store, StoreError};
use crate::journal::{Entry, State, codec};

/// Takes entries to where they are kept.
pub struct JournalWriter {
    /// What was noted and is not in the cluster yet.
    waiting: Mutex<Waiting>,
    /// The Secrets; `None` where they cannot be written.
    store: tokio::sync::Mutex<Option<Store>>,
    /// How many notes are in the cluster.
    kept: AtomicU64,
    writes: AtomicU64,
    local: Option<LocalCopy>,
    /// Whether the cluster does not take the journal any more.
    given_up: AtomicBool,
    trouble: Mutex<Option<String>>,
}

#[derive(Default)]
struct Waiting {
    lines: String,
    notes: u64,
}

impl JournalWriter {
    /// A journal of which `store` holds the beginning.
    pub fn new(store: Option<Store>, local: Option<LocalCopy>) -> Self {
        Self {
            waiting: Mutex::default(),
            given_up: AtomicBool::new(store.is_none()),
            store: tokio::sync::Mutex::new(store),
            kept: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            local,
            trouble: Mutex::default(),
        }
    }

    /// Numbers the next write.
    pub fn next_write(&self) -> u64 {
        self.writes.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a note; it is sent with the next [`commit`](Self::commit).
    pub fn note(&self, entry: &Entry) {
        let line = codec::encode_entry(entry);
        if let Some(local) = &self.local {
            local.append(&line);
        }
        let mut waiting = self.waiting();
        waiting.lines.push_str(&line);
        waiting.notes += 1;
    }

    /// Comes back when every note so far is kept. Where the cluster refuses the journal for good, the operation goes on
    /// without: what was stopped must be started all the same.
    pub async fn commit(&self) -> Result<(), StoreError> {
        let wanted = self.waiting().notes;
        if self.given_up.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut store = self.store.lock().await;
        let Some(open) = store.as_mut().filter(|_| self.kept.load(Ordering::Relaxed) < wanted) else {
            return Ok(());
        };
        let (lines, notes) = {
            let mut waiting = self.waiting();
            (std::mem::take(&mut waiting.lines), waiting.notes)
        };
        match open.append(&lines).await {
            Ok(()) => {
                self.kept.store(notes, Ordering::Relaxed);
                Ok(())
            }
            Err(error @ StoreError::Contested(_)) => Err(error),
            Err(error) => {
                self.waiting().lines.insert_str(0, &lines);
                if error.is_final() {
                    self.give_up(&error);
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    fn give_up(&self, error: &StoreError) {
        self.given_up.store(true, Ordering::Relaxed);
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            text = format!("{text}: {source}");
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// Why the cluster does not take the journal any more, told once.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Writes the last entry and where the operation stands.
    pub async fn close(
        &self,
        entry: &Entry,
        state: State,
        outcome: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.note(entry);
        if self.given_up.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut store = self.store.lock().await;
        let lines = std::mem::take(&mut self.waiting().lines);
        match store.as_mut() {
            Some(store) => store.close(&lines, state, outcome, now).await,
            None => Ok(()),
        }
    }
}
