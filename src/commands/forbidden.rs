//! What cannot be read may be a matter of rights: then it is a failed check, and every right that is missing is named.

use super::{Failure, Session};
use crate::discover::{RecordProblem, Snapshot};
use crate::event::{Check, EventKind, Finding, FindingStatus};
use crate::helm::error::StorageError;
use crate::outcome::{ExitCode, Outcome};
use crate::preflight::{self, rules::Extent};

/// The failure as it is, or where rights are missing a refusal that names them.
pub async fn name_rights(session: &Session, failure: Failure, extent: Extent) -> Failure {
    let said = failure.error.chain().find_map(refusal);
    match said {
        Some(said) => refuse(session, failure, extent, &said).await,
        None => failure,
    }
}

/// As [`name_rights`], where a plan could not be made because Helm's records may not be read.
pub async fn name_rights_to_records(
    session: &Session,
    failure: Failure,
    snapshot: &Snapshot,
    extent: Extent,
) -> Failure {
    match &snapshot.record_problem {
        Some(RecordProblem::Forbidden(said)) if extent.records.is_some() => {
            let error =
                anyhow::anyhow!("reading Helm's records is forbidden, and without them it cannot be planned");
            refuse(session, Failure { error, ..failure }, extent, said).await
        }
        _ => failure,
    }
}

async fn refuse(session: &Session, failure: Failure, extent: Extent, said: &str) -> Failure {
    let context = &session.context;
    let mut findings = preflight::rights_to_read(context, extent).await;
    let is_missing = |finding: &&Finding| finding.status == FindingStatus::Fail;
    if !findings.iter().any(|finding| is_missing(&finding)) {
        findings.extend(said_by(said));
    }
    let missing: Vec<String> = findings
        .iter()
        .filter(is_missing)
        .map(|finding| format!("\n  {}: {}", finding.subject, finding.message))
        .collect();
    let error = anyhow::anyhow!("{}; nothing was changed{}", failure.error, missing.concat());
    for finding in findings {
        context.emit(EventKind::Preflight(finding));
    }
    Failure { next: failure.next, ..Failure::new(ExitCode::PreflightFailed, Outcome::Refused, error) }
        .hinted(format!("kubectl auth can-i --list -n {}", context.namespace))
}

/// The server's words where an error is a refusal.
fn refusal(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(StorageError::Forbidden { message, .. }) = cause.downcast_ref() {
        return Some(message.clone());
    }
    match cause.downcast_ref() {
        Some(kube::Error::Api(status)) if status.code == 403 => Some(status.message.clone()),
        _ => None,
    }
}

/// The right that a refusal speaks of: `deployments.apps "web" is forbidden: User "x" cannot get resource "deployments" …`.
fn said_by(said: &str) -> Option<Finding> {
    let (_, rest) = said.split_once(" cannot ")?;
    let (verb, rest) = rest.split_once(" resource \"")?;
    let (resource, _) = rest.split_once('"')?;
    let name = said.split_once(" is forbidden").and_then(|(start, _)| start.split('"').nth(1));
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    Some(Finding {
        check: Check::Permission,
        subject: format!("{verb} {resource}{name}"),
        status: FindingStatus::Fail,
        message: format!("not allowed: {said}"),
        hint: "ask for this right".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_is_read_from_the_refusal() {
        let one = r#"deployments.apps "web" is forbidden: User "x" cannot get resource "deployments" in API group "apps" in the namespace "n""#;
        let all =
            r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "n""#;
        let subject = |said: &str| said_by(said).map(|finding| finding.subject);
        assert_eq!(subject(one).as_deref(), Some("get deployments web"));
        assert_eq!(subject(all).as_deref(), Some("list pods"));
        assert_eq!(subject("violates PodSecurity"), None);
    }
}
