//! `diff`: what a rollback would change, against what runs. Exit codes as `kubectl diff`: 0 none, 1 differences, more an
//! error.

use serde_json::json;

use super::database::DatabaseWish;
use super::look::{Wish, look};
use super::{Conclusion, Failure, Session};
use crate::cli::{DiffArgs, DryRun};
use crate::outcome::{ExitCode, Outcome};
use crate::plan::rollback::forecast::ObjectChange;
use crate::report::API_VERSION;
use crate::ui::{self, Detail};

/// Runs the command.
pub async fn run(session: &Session, arguments: &DiffArgs) -> Result<Conclusion, Failure> {
    let mut wish = Wish::of(session, &arguments.target, None);
    // Nothing of the configuration changes what is different.
    wish.database = DatabaseWish::NoMatter;
    // 1 means differences here, so that an error is 2 where it would be 1 elsewhere.
    let look = Box::pin(look(session, &mut wish, DryRun::Server)).await.map_err(|mut failure| {
        if failure.exit == ExitCode::Unexpected {
            failure.exit = ExitCode::Usage;
        }
        failure
    })?;
    let is_open = |change: ObjectChange| matches!(change, ObjectChange::Refused | ObjectChange::Unknown);
    let is_different = look
        .differences
        .iter()
        .any(|diff| !matches!(diff.change, ObjectChange::Unchanged | ObjectChange::Kept));
    let mut document = session.document();
    let obstacles = &look.snapshot.obstacles;
    if !obstacles.is_empty() {
        // What becomes of these objects cannot be told, so that the rest is not the whole answer.
        let revision = look.plan.target_revision;
        document.error =
            Some(format!("revision {revision} cannot be shown whole:\n  {}", obstacles.join("\n  ")));
    }
    if !obstacles.is_empty() || look.differences.iter().any(|diff| is_open(diff.change)) {
        document.outcome = Outcome::Refused;
        document.exit_code = ExitCode::PreflightFailed.code();
    } else if is_different {
        document.exit_code = ExitCode::Unexpected.code();
    }
    let detail = Detail { fields: usize::MAX, context_lines: Some(arguments.context_lines) };
    let mut text = ui::diff_text(session.printer(), &look.differences, detail);
    for obstacle in obstacles {
        let line = format!("✘ revision {}: {obstacle}", look.plan.target_revision);
        text.push_str(&(session.printer().bad(&line) + "\n"));
    }
    session.printer().talk(&format!(
        "{}: what runs against revision {}, {}; {}",
        look.plan.release,
        look.plan.target_revision,
        look.snapshot.choice.by.why(),
        ui::diff_summary(&look.differences)
    ));
    let own = json!({
        "apiVersion": API_VERSION,
        "kind": "Diff",
        "release": look.plan.release,
        "namespace": look.plan.namespace,
        "fromRevision": look.plan.current_revision,
        "toRevision": look.plan.target_revision,
        "exitCode": document.exit_code,
        "objects": look.differences,
        "obstacles": obstacles,
        "warnings": look.snapshot.warnings,
    });
    let names = look
        .differences
        .iter()
        .filter(|diff| diff.change != ObjectChange::Unchanged)
        .map(|diff| diff.key.to_string())
        .collect::<Vec<_>>();
    Ok(Conclusion { document, text: text.trim_end().to_owned(), name: names.join("\n"), own: Some(own) })
}
