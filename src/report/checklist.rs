//! What is to be done after a rollback: the items, which of them the operation's own checks have done, and with what
//! evidence; the rest stays open with somebody to do it. Pure.

use std::fmt::Write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::incident::{Report, Verified, plain};
use crate::event::FindingStatus;
use crate::journal::State;
use crate::words::counted;

/// The most characters of a note.
pub const LONGEST_NOTE: usize = 2000;

/// One thing to do after every rollback: identifier, words, who does it.
struct Duty {
    id: &'static str,
    text: &'static str,
    owner: &'static str,
}

const fn duty(id: &'static str, text: &'static str, owner: &'static str) -> Duty {
    Duty { id, text, owner }
}

const DUTIES: [Duty; 11] = [
    duty("pods", "Verify all pods are running and healthy", "On-Call Engineer"),
    duty("smoke-tests", "Run smoke tests against all critical endpoints", "On-Call Engineer"),
    duty("logs", "Check application logs for errors", "Backend Lead"),
    duty("metrics", "Monitor Prometheus metrics for anomalies", "DevOps Lead"),
    duty("database", "Verify database connections are working", "DBA"),
    duty("workflow", "Test one user workflow end-to-end", "Product Manager"),
    duty("status-page", "Update status page with resolution", "Product Manager"),
    duty("incident-report", "Create incident report document", "On-Call Engineer"),
    duty("postmortem", "Schedule postmortem meeting", "DevOps Lead"),
    duty("root-cause", "Identify root cause of failed deployment", "Backend Lead"),
    duty("prevention", "Create tasks to prevent recurrence", "Backend Lead"),
];

/// The item of an identifier; an error says which there are.
pub fn identifier(text: &str) -> Result<&'static str, String> {
    identifiers().find(|id| *id == text).ok_or_else(|| {
        let known: Vec<&str> = identifiers().collect();
        format!("{text:?} is no item of the checklist; there are {}", known.join(", "))
    })
}

/// The identifiers of the items, in order.
pub fn identifiers() -> impl Iterator<Item = &'static str> {
    DUTIES.iter().map(|duty| duty.id)
}

/// An item that somebody has done; kept with the operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The item.
    pub id: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What came of it.
    pub note: String,
}

/// Adds a mark to those that there are; `false` where it says nothing new.
pub fn add(marks: &mut Vec<Mark>, mark: Mark) -> bool {
    match marks.iter_mut().find(|known| known.id == mark.id) {
        Some(known) if known.note == mark.note => false,
        Some(known) => {
            *known = mark;
            true
        }
        None => {
            marks.push(mark);
            true
        }
    }
}

/// The checklist of an operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checklist {
    /// `kubectl-rollback/v1`.
    pub api_version: &'static str,
    /// `Checklist`.
    pub kind: &'static str,
    /// Identifier of the operation.
    pub operation: String,
    /// The namespace.
    pub namespace: String,
    /// The release, where there is one.
    pub release: Option<String>,
    /// `--incident` of the operation.
    pub incident: Option<String>,
    /// What the operation was about, in a line.
    pub subject: String,
    /// How many items are done.
    pub done: usize,
    /// The items.
    pub items: Vec<Item>,
}

/// One item.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Its identifier.
    pub id: &'static str,
    /// What is to be done.
    pub text: &'static str,
    /// Who does it.
    pub owner: String,
    /// Whether it is done.
    pub done: bool,
    /// Who did it: a person, or `kubectl-rollback` where the operation's own checks did.
    pub by: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
    /// What came of it, in the words of who did it.
    pub note: Option<String>,
    /// What the operation's own checks found out, for it or against it.
    pub evidence: Vec<String>,
}

/// What the operation's own checks say to an item.
#[derive(Default)]
struct Evidence {
    proves: bool,
    lines: Vec<String>,
}

/// Makes the checklist of an operation. `owner_of` says who does an item where a team has said so.
pub fn checklist(
    report: &Report,
    marks: &[Mark],
    owner_of: impl Fn(&'static str) -> Option<String>,
) -> Checklist {
    let items: Vec<Item> = DUTIES
        .iter()
        .map(|duty| {
            let evidence = evidence(report, duty.id);
            let mark = marks.iter().find(|mark| mark.id == duty.id);
            let by_itself = mark.is_none() && evidence.proves;
            Item {
                id: duty.id,
                text: duty.text,
                owner: owner_of(duty.id).unwrap_or_else(|| duty.owner.to_owned()),
                done: mark.is_some() || evidence.proves,
                by: mark
                    .map(|mark| mark.by.clone())
                    .or_else(|| by_itself.then(|| "kubectl-rollback".to_owned())),
                at: mark.map(|mark| mark.at).or(report.times.finished_at.filter(|_| by_itself)),
                note: mark.map(|mark| mark.note.clone()),
                evidence: evidence.lines,
            }
        })
        .collect();
    Checklist {
        api_version: super::API_VERSION,
        kind: "Checklist",
        operation: report.operation.clone(),
        namespace: report.namespace.clone(),
        release: report.release.clone(),
        incident: report.incident.clone(),
        subject: report.subject(),
        done: items.iter().filter(|item| item.done).count(),
        items,
    }
}

fn evidence(report: &Report, id: &str) -> Evidence {
    // What was checked in the middle of an operation, or before it was undone, says nothing about what runs now.
    if report.state != State::Finished {
        return Evidence::default();
    }
    match id {
        "pods" => pods(report),
        "smoke-tests" => {
            of_checks(report, |check| matches!(check.check.as_str(), "http" | "tcp" | "exec" | "redis"))
        }
        "logs" => of_checks(report, |check| check.check == "logs"),
        "metrics" => of_checks(report, |check| check.check == "prometheus"),
        "database" => of_checks(report, is_about_a_database),
        _ => Evidence::default(),
    }
}

/// A check of the database: by its kind, or one of a team's own that is called so.
fn is_about_a_database(check: &Verified) -> bool {
    let is_own = matches!(check.check.as_str(), "exec" | "tcp" | "http");
    check.check == "database" || is_own && check.subject.to_lowercase().contains("database")
}

fn pods(report: &Report) -> Evidence {
    let workloads = &report.workloads;
    let ready = workloads.iter().filter(|workload| workload.ready == Some(true)).count();
    let checks = of_checks(report, |check| check.check == "readiness");
    let mut lines = Vec::new();
    if let Some(at) = report.times.restored_at.filter(|_| !workloads.is_empty()) {
        let all = counted(workloads.len(), "workload");
        lines.push(format!("{ready} of {all} ready at {}", at.strftime("%Y-%m-%d %H:%M:%SZ")));
    }
    let were_ready = report.times.restored_at.is_some() && ready == workloads.len() && ready > 0;
    let stayed = checks.proves || checks.lines.is_empty();
    lines.extend(checks.lines);
    Evidence { proves: were_ready && stayed, lines }
}

/// What the checks of a kind say: they prove something where there are some and every one of them passed.
fn of_checks(report: &Report, is_meant: impl Fn(&Verified) -> bool) -> Evidence {
    let checks: Vec<&Verified> = report.verify.iter().filter(|check| is_meant(check)).collect();
    let lines = checks
        .iter()
        .map(|check| {
            let answer = match check.status {
                FindingStatus::Pass => "passed",
                FindingStatus::Warn => "to mind",
                FindingStatus::Fail => "failed",
                FindingStatus::Unknown => "not known",
            };
            format!("{} {}: {answer}, {}", check.check, check.subject, check.message)
        })
        .collect();
    let proves = !checks.is_empty() && checks.iter().all(|check| check.status == FindingStatus::Pass);
    Evidence { proves, lines }
}

/// The checklist as Markdown, for an issue.
pub fn markdown(checklist: &Checklist) -> String {
    let mut text = format!("## After the rollback of {}\n\n", plain(&checklist.subject));
    let incident = checklist
        .incident
        .as_ref()
        .map(|incident| format!(", incident {}", plain(incident)))
        .unwrap_or_default();
    let _ = writeln!(
        text,
        "Operation {} in namespace {}{incident}: {} of {} done.\n",
        plain(&checklist.operation),
        plain(&checklist.namespace),
        checklist.done,
        checklist.items.len()
    );
    for item in &checklist.items {
        let (tick, who) = match (item.done, &item.by) {
            (true, Some(by)) => ("x", format!("done by {}", plain(by))),
            _ => (" ", format!("owner: {}", plain(&item.owner))),
        };
        let _ = writeln!(text, "- [{tick}] {} ({who})", item.text);
        for line in item.note.iter().chain(&item.evidence) {
            let _ = writeln!(text, "  - {}", plain(line));
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::incident::tests::{EMERGENCY, FAILED, report};

    /// No team has said who does what.
    fn nobody(_: &'static str) -> Option<String> {
        None
    }

    fn done(checklist: &Checklist) -> Vec<&str> {
        checklist.items.iter().filter(|item| item.done).map(|item| item.id).collect()
    }

    fn mark(id: &str, note: &str) -> Mark {
        let at = "2026-11-25T10:00:00Z".parse().unwrap();
        Mark { id: id.to_owned(), by: "jane@host".to_owned(), at, note: note.to_owned() }
    }

    #[test]
    fn what_the_checks_have_shown_is_ticked_with_evidence() {
        let report = report(EMERGENCY);
        let list =
            checklist(&report, &[mark("workflow", "made a todo | shared it"), mark("logs", "known")], nobody);
        assert_eq!(done(&list), ["pods", "smoke-tests", "logs", "workflow"]);
        assert_eq!((list.done, list.items.len()), (4, 11));
        insta::assert_snapshot!("checklist-md", markdown(&list));
        insta::assert_json_snapshot!("checklist-json", list);
    }

    #[test]
    fn only_what_passed_without_exception_counts() {
        let mut told = report(EMERGENCY);
        let check = |check: &str, subject: &str, status: &str| {
            let check = json!({"check": check, "subject": subject, "status": status, "message": "m"});
            serde_json::from_value::<Verified>(check).unwrap()
        };
        let cases: [(Vec<Verified>, &[&str]); 7] = [
            (vec![], &["pods"]),
            (vec![check("readiness", "deploy/a", "fail")], &[]),
            (vec![check("endpoints", "svc/a", "pass")], &["pods"]),
            (vec![check("http", "a", "pass"), check("http", "b", "fail")], &["pods"]),
            (vec![check("http", "a", "pass"), check("logs", "b", "unknown")], &["pods", "smoke-tests"]),
            (
                vec![check("prometheus", "errors", "pass"), check("logs", "b", "pass")],
                &["pods", "logs", "metrics"],
            ),
            (vec![check("exec", "Database connection", "pass")], &["pods", "smoke-tests", "database"]),
        ];
        for (verify, expected) in cases {
            told.verify = verify;
            assert_eq!(done(&checklist(&told, &[], nobody)), expected, "{:?}", told.verify);
        }
        told.workloads[0].ready = Some(false);
        assert!(!done(&checklist(&told, &[], nobody)).contains(&"pods"));
        assert!(done(&checklist(&report(FAILED), &[], nobody)).is_empty());
        let undone = Report { state: State::Aborted, ..report(EMERGENCY) };
        assert!(done(&checklist(&undone, &[], nobody)).is_empty());
    }

    #[test]
    fn a_team_says_who_does_an_item() {
        let owner = |id: &'static str| (id == "workflow").then(|| "@checkout *team*".to_owned());
        let list = checklist(&report(EMERGENCY), &[], owner);
        let owner_of = |id: &str| list.items.iter().find(|item| item.id == id).unwrap().owner.as_str();
        assert_eq!((owner_of("workflow"), owner_of("metrics")), ("@checkout *team*", "DevOps Lead"));
        let text = markdown(&list);
        assert!(text.contains(&format!("(owner: {})", plain("@checkout *team*"))), "{text}");
        assert!(!text.contains("*team*"), "what a team wrote is text: {text}");
    }

    #[test]
    fn the_same_mark_again_says_nothing_new() {
        let mut marks = Vec::new();
        assert!(add(&mut marks, mark("pods", "seen")));
        assert!(!add(&mut marks, mark("pods", "seen")));
        assert!(add(&mut marks, mark("pods", "seen twice")));
        assert_eq!(marks, [mark("pods", "seen twice")]);
    }
}
