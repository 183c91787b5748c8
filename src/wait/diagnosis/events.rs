//! Kubernetes Events, cut down to what a diagnosis needs, and folded for people.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

use crate::wait::redaction::redact;

/// Longest event line shown, in characters.
const LINE_LIMIT: usize = 240;
/// Most event lines shown for one diagnosis.
const LINES: usize = 8;

/// One Event. Everything else of it (managed fields, source, labels) is dropped on arrival: a namespace in
/// trouble has thousands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventNote {
    /// Kind of the object that it is about.
    pub kind: String,
    /// Name of that object.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// `spec.containers{app}` where it is about one container.
    pub field_path: String,
    /// `FailedMount`, `BackOff`, …
    pub reason: String,
    /// The message, not redacted yet.
    pub message: String,
    /// How often it happened.
    pub count: i32,
    /// When it happened last, by the cluster's clock.
    pub time: Option<Timestamp>,
    /// Whether its type is `Warning`.
    pub is_warning: bool,
}

impl From<&Event> for EventNote {
    fn from(event: &Event) -> Self {
        let object = &event.involved_object;
        let series = event.series.as_ref();
        let time = series
            .and_then(|series| series.last_observed_time.as_ref())
            .map(|time| time.0)
            .or_else(|| event.last_timestamp.as_ref().map(|time| time.0))
            .or_else(|| event.event_time.as_ref().map(|time| time.0))
            .or_else(|| event.first_timestamp.as_ref().map(|time| time.0))
            .or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0));
        Self {
            kind: object.kind.clone().unwrap_or_default(),
            name: object.name.clone().unwrap_or_default(),
            uid: object.uid.clone().unwrap_or_default(),
            field_path: object.field_path.clone().unwrap_or_default(),
            reason: event.reason.clone().unwrap_or_default(),
            message: event.message.clone().unwrap_or_default(),
            count: series.and_then(|series| series.count).or(event.count).unwrap_or(1).max(1),
            time,
            is_warning: event.type_.as_deref() == Some("Warning"),
        }
    }
}

impl EventNote {
    /// Whether the event is about this container of its pod.
    pub(super) fn is_about_container(&self, container: &str) -> bool {
        self.field_path.split_once('{').is_some_and(|(_, name)| name.strip_suffix('}') == Some(container))
    }
}

/// The warnings among `events` as lines, oldest first, repeated ones folded into one with their number:
/// `BackOff x3: Back-off restarting failed container`.
pub(super) fn fold<'a>(events: impl Iterator<Item = &'a EventNote>) -> Vec<String> {
    let mut folded: Vec<(&EventNote, i32)> = Vec::new();
    let mut warnings: Vec<&EventNote> = events.filter(|event| event.is_warning).collect();
    warnings.sort_by(|a, b| (a.time, &a.reason).cmp(&(b.time, &b.reason)));
    for event in warnings {
        let same = folded.iter_mut().find(|(known, _)| {
            known.reason == event.reason && essence(&known.message) == essence(&event.message)
        });
        match same {
            Some((known, count)) => {
                *known = event;
                *count = count.saturating_add(event.count);
            }
            None => folded.push((event, event.count)),
        }
    }
    let skipped = folded.len().saturating_sub(LINES);
    folded
        .into_iter()
        .skip(skipped)
        .map(|(event, count)| {
            let times = if count > 1 { format!(" x{count}") } else { String::new() };
            format!("{}{times}: {}", event.reason, one_line(&event.message, LINE_LIMIT))
        })
        .collect()
}

/// A message without what differs between two occurrences of the same thing: digits, and whatever is quoted
/// (names of pods, numbers of attempts, addresses).
fn essence(message: &str) -> String {
    let mut is_quoted = false;
    message
        .chars()
        .filter(|&character| {
            if character == '"' {
                is_quoted = !is_quoted;
            }
            !is_quoted && !character.is_ascii_digit()
        })
        .collect()
}

/// The message on one line, without credentials, cut to `limit` characters.
pub(super) fn one_line(message: &str, limit: usize) -> String {
    let message = redact(message);
    let mut line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > limit {
        line = line.chars().take(limit.saturating_sub(1)).collect();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(reason: &str, message: &str, count: i32, second: i64) -> EventNote {
        EventNote {
            kind: "Pod".into(),
            name: "web-1".into(),
            uid: "u".into(),
            field_path: "spec.containers{app}".into(),
            reason: reason.into(),
            message: message.into(),
            count,
            time: Timestamp::from_second(second).ok(),
            is_warning: reason != "Pulled",
        }
    }

    #[test]
    fn duplicates_fold_and_successes_go() {
        let events = [
            note("BackOff", "Back-off restarting failed container app in pod web-2_default(17)", 2, 30),
            note("Pulled", "Successfully pulled image", 1, 10),
            note("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 4, 20),
            note("BackOff", "Back-off restarting failed container app in pod web-1_default(4)", 3, 10),
        ];
        assert_eq!(
            fold(events.iter()),
            [
                "BackOff x5: Back-off restarting failed container app in pod web-2_default(17)",
                "Unhealthy x4: Readiness probe failed: HTTP probe failed with statuscode: 503",
            ]
        );
    }

    #[test]
    fn lines_are_short_few_and_redacted() {
        let many: Vec<EventNote> =
            (0..20).map(|index| note(&format!("R{index:02}"), &"x".repeat(500), 1, index)).collect();
        let lines = fold(many.iter());
        assert_eq!((lines.len(), lines[0].starts_with("R12")), (LINES, true));
        assert!(lines.iter().all(|line| line.chars().count() <= LINE_LIMIT + 10));
        let secret = [note("Failed", "pull https://bob:hunter2@ghcr.io/x", 1, 1)];
        assert_eq!(fold(secret.iter()), ["Failed: pull https://***@ghcr.io/x"]);
    }

    #[test]
    fn containers_are_named_by_the_field_path() {
        let event = note("Failed", "", 1, 1);
        assert!(event.is_about_container("app") && !event.is_about_container("ap"));
    }

    #[test]
    fn events_of_the_newer_api_are_read() {
        let event: Event = serde_json::from_value(serde_json::json!({
            "metadata": {}, "type": "Warning", "reason": "FailedScheduling",
            "involvedObject": {"kind": "Pod", "name": "web-1", "uid": "u"},
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "series": {"count": 7, "lastObservedTime": "2026-01-01T00:01:00.000000Z"},
        }))
        .expect("an Event");
        let note = EventNote::from(&event);
        assert_eq!(note.count, 7);
        assert_eq!(note.time.expect("a time").to_string(), "2026-01-01T00:01:00Z");
    }
}
