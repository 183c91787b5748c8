//! Reports of journals that operations on the simulated cluster wrote (`tests/cases/journals/`): one that came through,
//! and one that did not. Their waits are stretched, because simulated pods start at once; the first has a diagnosis, checks
//! afterwards and a warning added, so that every part of a report is seen.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{Report, assemble, duration, html, markdown};
use crate::event::StageStatus;
use crate::journal::{Entry, Head, Journal, State};

pub const EMERGENCY: &str = include_str!("../../../tests/cases/journals/emergency.json");
pub const FAILED: &str = include_str!("../../../tests/cases/journals/failed-rollback.json");
/// Of the cluster with real containers: an emergency whose database went back in part.
const HALF_WAY: &str = include_str!("../../../tests/cases/journals/database-half-way.json");

#[derive(Deserialize)]
struct Kept {
    state: State,
    head: Head,
    entries: Vec<Entry>,
}

fn journal(text: &str) -> (Journal, State) {
    let Kept { state, head, entries } = serde_json::from_str(text).unwrap();
    (Journal { head, entries }, state)
}

pub fn report(text: &str) -> Report {
    let (journal, state) = journal(text);
    assemble(&journal, state)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_report_in_every_format() {
    let journals = [("emergency", EMERGENCY), ("failed-rollback", FAILED), ("database-half-way", HALF_WAY)];
    for (name, text) in journals {
        let report = report(text);
        insta::assert_snapshot!(format!("{name}-md"), markdown(&report));
        insta::assert_snapshot!(format!("{name}-html"), html(&report).replace('>', ">\n"));
        insta::assert_json_snapshot!(format!("{name}-json"), report);
    }
}

#[test]
fn a_job_is_no_workload() {
    let (mut journal, state) = journal(EMERGENCY);
    let workloads = assemble(&journal, state).workloads;
    let object = json!({"kind": "Job", "name": "migrate", "namespace": "shop"});
    let step = |at: &str, ready: u8, words: &str| Entry::Event {
        event: json!({"ts": at, "type": "Progress", "object": object, "ready": ready, "desired": 1, "state": words}),
    };
    journal.entries.push(step("2026-11-25T09:14:06Z", 0, "1 active"));
    journal.entries.push(step("2026-11-25T09:14:07Z", 1, "succeeded"));
    let told = assemble(&journal, state);
    // Who counts workloads that are ready (the checklist, messages) does not count it.
    assert_eq!(told.workloads, workloads);
    assert_eq!((told.jobs.len(), told.jobs[0].timeline.len()), (1, 2));
    for text in [html(&told), markdown(&told)] {
        assert!(text.contains("migrate") && text.contains("succeeded"), "{text}");
    }
}

#[test]
fn the_recovery_time_begins_at_the_deploy_where_that_is_known() {
    let (mut journal, state) = journal(EMERGENCY);
    let told = assemble(&journal, state);
    let restored = told.times.restored_at.unwrap();
    let since = |from: &str| i64::try_from(restored.duration_since(at(from)).as_millis()).unwrap();
    assert_eq!(told.durations.recovery_ms, Some(since("2026-11-25T09:02:41Z")));
    assert!(told.durations.recovery_definition.starts_with("DORA's failed deployment recovery time"));
    assert!(told.durations.change_failure);

    journal.head.deployed_at = None;
    let told = assemble(&journal, state);
    assert_eq!(told.durations.recovery_ms, told.durations.until_restored_ms);
    assert!(told.durations.recovery_definition.contains("whose time this journal does not hold"));
    // What was undone did not bring the service back.
    assert_eq!(assemble(&journal, State::Aborted).durations.recovery_ms, None);
    assert_eq!(report(FAILED).durations.recovery_ms, None);
}

#[test]
fn what_is_cut_off_is_told_as_not_ended() {
    let (journal, _) = journal(EMERGENCY);
    for length in 0..journal.entries.len() {
        let cut = Journal { head: journal.head.clone(), entries: journal.entries[..length].to_vec() };
        let report = assemble(&cut, State::Open);
        let (text, page) = (markdown(&report), html(&report));
        assert!(text.contains("**Not ended**") && page.contains("Not ended"), "{length}");
        assert!(text.contains("kubectl rollback resume d177 -n shop"), "{length}: {text}");
        assert_eq!(report.workloads.len(), 6, "{length}");
        assert_eq!(report.workloads[0].strategy, "rolling");
    }
    let waiting = journal.entries.iter().position(|entry| format!("{entry:?}").contains("Progress")).unwrap();
    let entries = journal.entries[..=waiting].to_vec();
    let report = assemble(&Journal { head: journal.head, entries }, State::Open);
    let phase = report.phases.last().unwrap();
    assert_eq!((phase.name.as_str(), phase.status, phase.ended_at), ("wait", StageStatus::Started, None));
}

#[test]
fn no_text_of_somebody_else_becomes_markup() {
    let (mut journal, state) = journal(EMERGENCY);
    let evil = "</title><script>alert('1')</script>\"onload=\"x` ``` # [a](javascript:b) @all | <img src=x>\n# heading";
    let head = &mut journal.head;
    for field in [&mut head.target, &mut head.actor, &mut head.command, &mut head.context] {
        evil.clone_into(field);
    }
    head.reason = Some(evil.to_owned());
    head.release = Some(evil.to_owned());
    head.incident = Some(evil.to_owned());
    let object = json!({"kind": "Deployment", "name": evil, "namespace": evil});
    let event = |more: serde_json::Value| {
        let mut event = json!({"ts": "2026-11-25T09:14:06Z", "object": object});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Entry::Event { event }
    };
    journal.entries.extend([
        event(json!({"type": "Progress", "ready": 1, "desired": 2, "state": evil})),
        event(json!({"type": "Change", "verb": evil, "fields": [evil], "before": evil, "after": {evil: evil}})),
        event(json!({"type": "Warning", "message": evil})),
        event(json!({"type": "Stage", "stage": evil, "status": "failed", "message": evil})),
        event(json!({"type": "Verify", "check": evil, "subject": evil, "status": "fail", "message": evil})),
        event(json!({"type": "Diagnosis", "code": "CrashLoop", "severity": "fatal", "pod": evil, "container": evil,
            "message": evil, "exitCode": 1, "restarts": 1, "logs": [evil], "events": [evil], "hint": evil})),
    ]);
    let report = assemble(&journal, state);
    let page = html(&report);
    assert!(page.matches("alert(").count() > 12, "the texts are all there");
    let ours = "!DOCTYPE html head meta title style body main header p h1 h2 h3 span section div figure figcaption svg g line rect \
        path text table thead tbody tr th td code pre ul li dl dt dd footer";
    for tag in page.split('<').skip(1) {
        let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap_or_default();
        assert!(ours.split_whitespace().any(|ours| ours == name), "<{name}");
    }
    assert!(!page.contains("\"onload"), "no quote ends an attribute");

    let text = markdown(&report);
    let mut fence: Option<usize> = None;
    for line in text.lines() {
        let ticks = line.bytes().take_while(|byte| *byte == b'`').count();
        match fence {
            Some(open) if line.len() == ticks && ticks >= open => fence = None,
            Some(_) => continue,
            None if ticks >= 3 => fence = Some(ticks),
            None => {}
        }
        // Outside of code nothing of it means anything.
        let outside: String = outside_code(line);
        for markup in ["<script", "<img", "@all", "[a]("] {
            assert!(!outside.contains(markup), "{markup} in {line}");
        }
        assert!(!line.starts_with("# heading"), "{line}");
    }
    assert_eq!(fence, None, "every block of code ends");
}

/// A line of Markdown without its spans of code.
fn outside_code(line: &str) -> String {
    let mut outside = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        if rest[..start].ends_with('\\') {
            outside.push_str(&rest[..=start]);
            rest = &rest[start + 1..];
            continue;
        }
        outside.push_str(&rest[..start]);
        let ticks = rest[start..].bytes().take_while(|byte| *byte == b'`').count();
        let after = &rest[start + ticks..];
        let mut place = 0;
        let end = loop {
            let Some(found) = after[place..].find('`') else { break None };
            let run = after[place + found..].bytes().take_while(|byte| *byte == b'`').count();
            if run == ticks {
                break Some(place + found + run);
            }
            place += found + run;
        };
        match end {
            Some(end) => rest = &after[end..],
            None => rest = after,
        }
    }
    outside + rest
}

#[test]
fn durations_are_told_in_two_units() {
    let cases = [
        (0, "0ms"),
        (65, "65ms"),
        (4_210, "4.2s"),
        (65_000, "1m 05s"),
        (7_380_000, "2h 03m"),
        (180_000_000, "2d 2h"),
    ];
    for (ms, text) in cases {
        assert_eq!(duration(ms), text);
    }
}
