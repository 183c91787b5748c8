use insta::assert_snapshot;

use super::*;
use format::{MessageFormat, printed};

fn said(facts: &Facts, format: MessageFormat) -> String {
    printed(&message(facts, &Templates::default()).unwrap(), facts, format)
}

#[test]
fn the_three_messages() {
    let started = Facts::example();
    let update = Facts { kind: MessageKind::Update, status: IncidentStatus::Monitoring, ..Facts::example() };
    let complete =
        Facts { kind: MessageKind::Complete, status: IncidentStatus::Monitoring, ..Facts::example() };
    let over = Facts { status: IncidentStatus::Resolved, ..complete.clone() };
    let texts: Vec<String> =
        [started, update, complete, over].iter().map(|facts| said(facts, MessageFormat::Text)).collect();
    assert_snapshot!("texts", texts.join("\n\n----\n\n"));
}

#[test]
fn what_is_not_known_is_left_out() {
    let facts =
        Facts { release: "shop".to_owned(), environment: "prod / shop".to_owned(), ..Facts::default() };
    assert_snapshot!(said(&facts, MessageFormat::Text), @"
    INCIDENT: rollback of shop has begun

    Time: 1970-01-01 00:00:00Z
    Environment: prod / shop
    Status: identified
    ");
}

#[test]
fn the_formats() {
    let facts = Facts { reason: Some("<!channel> 50% *down* & \"out\"".to_owned()), ..Facts::example() };
    for (name, format) in [
        ("markdown", MessageFormat::Md),
        ("slack", MessageFormat::Slack),
        ("teams", MessageFormat::Teams),
        ("json", MessageFormat::Json),
    ] {
        assert_snapshot!(name, said(&facts, format));
    }
}

#[test]
fn a_template_takes_the_place_of_the_text() {
    let templates = Templates {
        started: Some("{{ release }} goes back{% if to %} to {{ to }}{% endif %}{% for c in contacts %}, call {{ c.contact }}{% endfor %}".parse().unwrap()),
        ..Templates::default()
    };
    let message = message(&Facts::example(), &templates).unwrap();
    assert_eq!(message.body, Body::Text("todo-app goes back to revision 5, call #dba".to_owned()));
}

#[test]
fn templates_are_tried_before_they_are_needed() {
    assert!(check_template("{{ release }}{{ reason }}").is_ok());
    for wrong in ["{{ relaese }}", "{{ release", "{% if to %}", "{{ contacts.0.phone }}"] {
        let error = check_template(wrong).unwrap_err();
        assert!(error.contains("docs/notify.md"), "{wrong}: {error}");
    }
}

fn told_by(description: &str, status: &str) -> Option<facts::Told> {
    let body = serde_json::json!({
        "name": "shop", "version": 8, "namespace": "n", "manifest": "",
        "info": {"status": status, "description": description, "last_deployed": "2026-11-24T14:01:30Z"},
    });
    let record = crate::helm::record::Record::from_json(body).unwrap();
    let mut meta = crate::helm::meta::RecordMeta::for_test("shop", 8, status);
    meta.created = Some("2026-11-24T14:00:00Z".parse().unwrap());
    facts::told(&meta, &record, Some(7))
}

#[test]
fn records_tell_what_a_rollback_did() {
    let ours = "kubectl-rollback emergency to tag good-1 (from=6, operation 7f3a)";
    for (description, status, from, to, reason, operation) in [
        (ours, "deployed", 6, "tag good-1", None, Some("7f3a")),
        (
            &format!("{ours}: checkout fails (INC-1)"),
            "deployed",
            6,
            "tag good-1",
            Some("checkout fails (INC-1)"),
            Some("7f3a"),
        ),
        (&format!("{ours} failed: deploy/web"), "failed", 6, "tag good-1", None, Some("7f3a")),
        ("Rollback to 5", "deployed", 7, "revision 5", None, None),
        ("Rollback to 5: checkout fails", "deployed", 7, "revision 5", Some("checkout fails"), None),
    ] {
        let told = told_by(description, status).unwrap();
        assert_eq!((told.from, told.to.as_deref()), (Some(from), Some(to)), "{description}");
        assert_eq!((told.reason.as_deref(), told.operation.as_deref()), (reason, operation), "{description}");
        assert_eq!(told.health.is_some(), status == "failed");
        assert_eq!(told.ended.unwrap().duration_since(told.began.unwrap()).as_secs(), 90);
    }
    assert_eq!(told_by(ours, "pending-rollback").unwrap().ended, None);
    for description in ["Upgrade complete", "Install complete", "Rollback to basics", ""] {
        assert_eq!(told_by(description, "deployed"), None, "{description}");
    }
}

/// What the journal of an operation tells, with another state where one is given.
fn told_by_operation(kept: &str, state: Option<crate::journal::State>) -> facts::Told {
    #[derive(serde::Deserialize)]
    struct Kept {
        state: crate::journal::State,
        head: crate::journal::Head,
        entries: Vec<crate::journal::Entry>,
    }
    let Kept { state: own, head, entries } = serde_json::from_str(kept).unwrap();
    let journal = crate::journal::Journal { head, entries };
    facts::told_by_journal(&crate::report::incident::assemble(&journal, state.unwrap_or(own)))
}

#[test]
fn journals_tell_what_an_operation_did() {
    use crate::journal::State;
    let emergency = include_str!("../../tests/cases/journals/emergency.json");
    let failed = include_str!("../../tests/cases/journals/failed-rollback.json");
    let told = told_by_operation(emergency, None);
    assert_eq!((told.from, told.to.as_deref()), (Some(3), Some("tag good-2")));
    assert_eq!((told.operation.as_deref(), told.incident.as_deref()), (Some("d177"), Some("INC-482")));
    assert!(told.reason.is_some_and(|reason| reason.starts_with("checkout answers 500")));
    // Until everything was ready, not until the checks were through.
    assert_eq!(told.ended.unwrap().duration_since(told.began.unwrap()).as_secs(), 14);
    for (kept, state, health) in [
        (emergency, None, Some("3 of 4 checks passed")),
        (emergency, Some(State::Open), None),
        (emergency, Some(State::Aborted), Some("the rollback was undone")),
        (failed, None, Some("the rollback did not end well: 4 of 10 workloads ready")),
    ] {
        let told = told_by_operation(kept, state);
        assert_eq!(told.health.as_deref(), health);
        assert_eq!(told.ended.is_none(), state == Some(State::Open));
    }
}
