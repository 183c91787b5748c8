//! What a pipeline shows of a deploy under watch: a screen of Markdown, and one annotation. Texts of others are made
//! harmless: a log line must not be able to close a block, name a person, or start a command of the runner's.

use std::fmt::Write;

use crate::event::{FindingStatus, Verification};
use crate::report::incident::{fenced, plain};
use crate::report::{DeployDiagnosis, DeployResult, ResultDocument};

/// Log lines and events of one diagnosis.
const LINES: usize = 15;
/// Diagnoses that are shown whole.
const SHOWN: usize = 5;

/// The summary.
pub fn markdown(document: &ResultDocument) -> String {
    let none = DeployResult::default();
    let deploy = document.deploy.as_deref().unwrap_or(&none);
    let release = document.release.as_ref().map_or("the release", |release| release.name.as_str());
    let mut text = String::new();
    let (mark, what) = if document.exit_code == 0 {
        ("✅", "deployed")
    } else if deploy.rolled_back_to.is_some() {
        ("↩️", "deploy failed, rolled back")
    } else {
        ("❌", "deploy failed")
    };
    let _ = writeln!(text, "## {mark} {}: {what}\n", plain(release));
    let _ = writeln!(text, "| | |\n|---|---|");
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "| {name} | {value} |");
        }
    };
    row("Where", plain(&format!("{} in {}", document.namespace, document.context)));
    row("Deploy", deploy.command.as_deref().map(plain).unwrap_or_default());
    row("Revision", revisions(deploy));
    row("Failed", deploy.failures.iter().map(|failure| plain(failure)).collect::<Vec<_>>().join("<br>"));
    row("Done", done(document, deploy));
    row("Took", took(document, deploy));
    row("Exit code", document.exit_code.to_string());
    for found in deploy.diagnosis.iter().take(SHOWN) {
        diagnosis(&mut text, found);
    }
    if deploy.diagnosis.len() > SHOWN {
        let _ = writeln!(text, "\nand {} more", deploy.diagnosis.len() - SHOWN);
    }
    checks(&mut text, "Checks of the deploy", &deploy.verify);
    checks(&mut text, "Checks after the rollback", &document.verify);
    if !document.next.is_empty() {
        let _ = writeln!(text, "\n**Next**\n\n{}", fenced("sh", &document.next));
    }
    text.push('\n');
    text
}

fn revisions(deploy: &DeployResult) -> String {
    match (deploy.revision_before, deploy.revision) {
        (Some(before), Some(now)) if before == now => format!("{before}, no new one"),
        (Some(before), Some(now)) => format!("{before} → {now}"),
        (None, Some(now)) => now.to_string(),
        _ => String::new(),
    }
}

fn done(document: &ResultDocument, deploy: &DeployResult) -> String {
    if let Some(target) = deploy.rolled_back_to {
        let new = document.release.as_ref().and_then(|release| release.new_revision);
        let new = new.map(|new| format!(" as revision {new}")).unwrap_or_default();
        return format!("rolled back to revision {target}{new}");
    }
    match &deploy.left_alone {
        Some(why) => format!("not rolled back: {}", plain(why)),
        None if document.exit_code == 0 => "nothing had to be done".to_owned(),
        None => format!("**the rollback failed**: {}", plain(document.error.as_deref().unwrap_or_default())),
    }
}

fn took(document: &ResultDocument, deploy: &DeployResult) -> String {
    let whole = document.timings.elapsed();
    let whole = whole.trim_start_matches(" in ");
    match (&deploy.command, whole) {
        (Some(_), whole) if !whole.is_empty() => format!("{whole}, {} s of it the deploy", deploy.seconds),
        (_, whole) => whole.to_owned(),
    }
}

fn diagnosis(text: &mut String, found: &DeployDiagnosis) {
    let DeployDiagnosis { object, diagnosis } = found;
    let _ = writeln!(
        text,
        "\n**{} {}: {}**: {}",
        plain(&object.kind),
        plain(&object.name),
        diagnosis.code,
        plain(&diagnosis.message)
    );
    for (title, lines) in [("last log lines", &diagnosis.logs), ("events", &diagnosis.events)] {
        if !lines.is_empty() {
            let last = &lines[lines.len().saturating_sub(LINES)..];
            let _ = writeln!(text, "\n{title}:\n\n{}", fenced("text", last));
        }
    }
    if !diagnosis.hint.is_empty() {
        let _ = writeln!(text, "\nhint: {}", plain(&diagnosis.hint));
    }
}

fn checks(text: &mut String, title: &str, results: &[Verification]) {
    if results.is_empty() {
        return;
    }
    let bad: Vec<_> = results.iter().filter(|result| result.status == FindingStatus::Fail).collect();
    let _ = writeln!(text, "\n**{title}**: {} of {} failed", bad.len(), results.len());
    if !bad.is_empty() {
        text.push('\n');
    }
    for result in bad {
        let _ = writeln!(
            text,
            "- {} {}: {}",
            plain(&result.check),
            plain(&result.subject),
            plain(&result.message)
        );
    }
}

/// GitHub's command that shows an error beside the step; nothing where all is well.
pub fn annotation(document: &ResultDocument) -> Option<String> {
    let error = document.error.as_ref()?;
    let error = error.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    Some(format!("::error title=kubectl rollback ci::{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Diagnosis, DiagnosisCode, ObjectReference, Severity};
    use crate::outcome::{ExitCode, Outcome};
    use crate::report::ReleaseResult;

    fn document() -> ResultDocument {
        let start: jiff::Timestamp = "2026-02-07T14:00:00Z".parse().unwrap();
        let mut document = ResultDocument::new("ci", Outcome::Failed, ExitCode::Unexpected, start);
        document.timings.started_at = Some("2026-02-07T13:59:39Z".parse().unwrap());
        (document.context, document.namespace) = ("prod".into(), "shop".into());
        document.release = Some(ReleaseResult {
            name: "todo-app".into(),
            from_revision: Some(8),
            to_revision: Some(7),
            new_revision: Some(9),
            tag: None,
        });
        let diagnosis = Diagnosis {
            code: DiagnosisCode::CrashLoop,
            severity: Severity::Fatal,
            pod: Some("todo-backend-1".into()),
            container: Some("backend".into()),
            message: "exits with 1 | <b>again</b>".into(),
            exit_code: Some(1),
            restarts: 2,
            logs: vec!["KeyError: 'SMTP_URL'".into(), "</pre><img src=x> ``` | @everyone\u{1b}[31m".into()],
            events: vec!["BackOff".into()],
            hint: "look at SMTP_URL".into(),
        };
        let object = ObjectReference {
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: "todo-backend".into(),
        };
        document.deploy = Some(Box::new(DeployResult {
            command: Some("helm upgrade todo-app . --wait".into()),
            exit_code: Some(1),
            seconds: 9,
            revision_before: Some(7),
            revision: Some(8),
            failures: vec!["the deploy was stopped: its pods will not become ready".into()],
            diagnosis: vec![DeployDiagnosis { object, diagnosis }],
            rolled_back_to: Some(7),
            ..DeployResult::default()
        }));
        document.error = Some("100% broken\n::error::injected".into());
        document.next = vec!["kubectl rollback status todo-app -n shop".into()];
        document
    }

    #[test]
    fn a_deploy_that_was_rolled_back() {
        insta::assert_snapshot!("rolled-back", markdown(&document()));
    }

    #[test]
    fn a_deploy_that_is_well_and_one_that_was_left() {
        let mut well = document();
        (well.exit_code, well.error, well.next) = (0, None, Vec::new());
        let deploy = DeployResult {
            seconds: 9,
            revision_before: Some(7),
            revision: Some(8),
            ..DeployResult::default()
        };
        well.deploy = Some(Box::new(deploy.clone()));
        insta::assert_snapshot!("well", markdown(&well));
        assert_eq!(annotation(&well), None);
        let mut left = document();
        let why = super::super::Left::FirstInstall.reason();
        left.deploy = Some(Box::new(DeployResult { left_alone: Some(why), revision_before: None, ..deploy }));
        insta::assert_snapshot!("left", markdown(&left));
    }

    #[test]
    fn nothing_of_a_log_line_has_a_meaning() {
        let text = markdown(&document());
        assert!(!text.contains('\u{1b}'), "{text}");
        // The log line has a fence of three ticks: its block needs four.
        let parts: Vec<&str> = text.split("````").collect();
        assert!(parts.len() == 3 && parts[1].contains("<img src=x> ``` | @everyone"), "{text}");
        let outside = [parts[0], parts[2]].concat();
        assert!(!outside.contains("<img") && !outside.contains('@'), "{text}");
        let annotation = annotation(&document()).unwrap();
        assert!(!annotation.contains('\n') && annotation.contains("100%25 broken%0A"), "{annotation}");
    }
}
