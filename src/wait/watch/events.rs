//! Which Events count: those that happened since the start, about something that is waited for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt;

use super::follow::{Trouble, Update};
use crate::wait::diagnosis::EventNote;

/// Most Events kept. A namespace of a thousand failing pods makes more than anybody reads.
const MOST_EVENTS: usize = 4000;

/// The two streams of Events: all warnings, and one normal reason that changes a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum EventSource {
    Warnings,
    ScaleUps,
}

/// The Events that count.
pub(super) struct Events {
    started_at: Timestamp,
    kept: BTreeMap<(EventSource, String), EventNote>,
    listed: BTreeSet<EventSource>,
    /// Events that stood there before the start; they count once they happen again.
    stale: HashMap<String, (i32, Option<Timestamp>)>,
}

impl Events {
    pub(super) fn since(started_at: Timestamp) -> Self {
        Self { started_at, kept: BTreeMap::new(), listed: BTreeSet::new(), stale: HashMap::new() }
    }

    pub(super) fn kept(&self) -> impl Iterator<Item = &EventNote> {
        self.kept.values()
    }

    /// Takes what happened in; `is_of_interest` judges by the name of the object that the event is about.
    pub(super) fn apply(
        &mut self,
        source: EventSource,
        update: Update<Event>,
        is_of_interest: impl Fn(&str) -> bool,
    ) -> Option<Trouble> {
        match update {
            Update::Listed(events) => {
                let is_first = self.listed.insert(source);
                let mut kept = BTreeMap::new();
                for event in &events {
                    let note = EventNote::from(event);
                    if is_of_interest(&note.name) && self.is_new(event, &note, is_first) {
                        kept.insert((source, event.name_any()), note);
                    }
                }
                self.kept.retain(|(known, _), _| *known != source);
                self.kept.append(&mut kept);
            }
            Update::Changed(event) => {
                let note = EventNote::from(&*event);
                if is_of_interest(&note.name) && self.is_new(&event, &note, false) {
                    self.kept.insert((source, event.name_any()), note);
                }
            }
            // Events are only ever deleted because of their age.
            Update::Removed(_) => {}
            Update::Trouble(trouble) => return Some(trouble),
        }
        while self.kept.len() > MOST_EVENTS {
            self.kept.pop_first();
        }
        None
    }

    /// Whether the event happened since the start. A pod's own events always count: its uid says that they are
    /// about this pod. The others are compared with what stood there at first, because the cluster's clock need
    /// not be ours.
    fn is_new(&mut self, event: &Event, note: &EventNote, is_first: bool) -> bool {
        let stamp = (note.count, note.time);
        if note.kind == "Pod" || note.time.is_some_and(|time| time >= self.started_at) {
            return true;
        }
        let name = event.name_any();
        if is_first {
            self.stale.insert(name, stamp);
            return false;
        }
        self.stale.get(&name) != Some(&stamp)
    }
}
