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
