//! May we do what the plan says? Access reviews for every rule that it cannot do without, all at once.

use std::collections::BTreeSet;

use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::rules::{Permission, Rule};
use super::{TIME_BOX, dry_run};
use crate::context::Context;
use crate::discover::list::words;
use crate::event::{Check, Finding, FindingStatus};
use crate::helm::storage::Driver;
use crate::words::counted;

/// What the server said of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Allowed,
    /// Of these objects, or of all where none is named.
    Denied(Vec<String>),
    Unknown(String),
}

/// Asks for every required rule; what is not allowed is named one by one, the rest counted.
pub async fn findings(context: &Context, rules: &[Rule]) -> Vec<Finding> {
    let deadline = Instant::now() + TIME_BOX;
    let required: Vec<&Rule> = rules.iter().filter(|rule| rule.required).collect();
    let answers = join_all(required.iter().map(|rule| async move {
        match timeout_at(deadline, ask(context, rule)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Unknown(format!("the server could not be asked: {}", words(&error))),
            Err(_) => {
                Answer::Unknown(format!("the API server did not answer within {} s", TIME_BOX.as_secs()))
            }
        }
    }))
    .await;
    told(&required, &answers)
}

/// One question for all objects of the kind; where that is not allowed and only some are meant, one for each of those.
async fn ask(context: &Context, rule: &Rule) -> Result<Answer, kube::Error> {
    let Permission { namespace, group, verb, .. } = &rule.permission;
    let (resource, subresource) = rule.permission.parts();
    let question = dry_run::Question {
        namespace: namespace.as_deref().unwrap_or_default(),
        verb,
        group,
        resource,
        subresource,
        name: None,
    };
    if dry_run::may(&context.client, question).await? {
        return Ok(Answer::Allowed);
    }
    if rule.names.is_empty() {
        return Ok(Answer::Denied(Vec::new()));
    }
    let each = join_all(rule.names.iter().map(|name| async move {
        let question = dry_run::Question { name: Some(name), ..question };
        Ok::<_, kube::Error>((name, dry_run::may(&context.client, question).await?))
    }))
    .await;
    let each = each.into_iter().collect::<Result<Vec<_>, _>>()?;
    let denied: Vec<String> =
        each.into_iter().filter(|(_, allowed)| !allowed).map(|(name, _)| name.clone()).collect();
    Ok(if denied.is_empty() { Answer::Allowed } else { Answer::Denied(denied) })
}

fn told(rules: &[&Rule], answers: &[Answer]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut allowed = 0;
    let mut untold: BTreeSet<(&str, String)> = BTreeSet::new();
    for (rule, answer) in rules.iter().zip(answers) {
        let subject = format!("{} {}", rule.permission.verb, rule.permission.resource);
        match answer {
            Answer::Allowed => allowed += 1,
            Answer::Denied(names) => {
                let which = if names.is_empty() { String::new() } else { format!(" {}", names.join(", ")) };
                let place = match &rule.permission.namespace {
                    Some(namespace) => format!("in namespace {namespace}"),
                    None => "in the whole cluster".to_owned(),
                };
                findings.push(finding(
                    format!("{subject}{which}"),
                    FindingStatus::Fail,
                    format!("not allowed {place}"),
                    rule.hint,
                ));
            }
            Answer::Unknown(why) => {
                untold.insert((why, subject));
            }
        }
    }
    if let Some((why, first)) = untold.first() {
        let subject = if untold.len() == 1 { first.clone() } else { counted(untold.len(), "right") };
        findings.push(finding(subject, FindingStatus::Unknown, (*why).to_owned(), ""));
    }
    if allowed > 0 {
        findings.push(finding(counted(allowed, "right"), FindingStatus::Pass, "allowed".to_owned(), ""));
    }
    findings
}

fn finding(subject: String, status: FindingStatus, message: String, hint: &str) -> Finding {
    Finding { check: Check::Permission, subject, status, message, hint: hint.to_owned() }
}

/// Asks whether Helm's records may be changed.
pub async fn may_patch_records(context: &Context, driver: Driver) -> Finding {
    let permission = Permission {
        namespace: Some(context.namespace.clone()),
        group: String::new(),
        resource: driver.plural().to_owned(),
        verb: "patch",
    };
    let rule = Rule {
        permission,
        names: BTreeSet::new(),
        required: true,
        hint: "ask for this right, or let somebody run the same command who has it",
    };
    let answer = match ask(context, &rule).await {
        Ok(Answer::Allowed) => {
            return finding(
                format!("patch {}", driver.plural()),
                FindingStatus::Pass,
                "allowed".to_owned(),
                "",
            );
        }
        Ok(answer) => answer,
        Err(error) => Answer::Unknown(format!("the server could not be asked: {}", words(&error))),
    };
    told(&[&rule], &[answer]).remove(0)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::{Value, json};

    use super::*;
    use crate::context::tests::{context, exchange};

    fn rule(names: &[&str]) -> Rule {
        let permission = Permission {
            namespace: Some("n".to_owned()),
            group: "apps".to_owned(),
            resource: "deployments".to_owned(),
            verb: "patch",
        };
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Rule { permission, names, required: true, hint: "ask" }
    }

    fn review(allowed: bool) -> Value {
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {}, "status": {"allowed": allowed}})
    }

    #[tokio::test]
    async fn objects_are_asked_for_by_name_where_not_all_are_allowed() {
        let path = "selfsubjectaccessreviews";
        let answers = [false, true, false].map(|allowed| exchange(Method::POST, path, 201, review(allowed)));
        let (context, script, _interrupter) = context(answers.into_iter().collect());
        let optional = Rule { required: false, ..rule(&[]) };
        let found = findings(&context, &[rule(&["api", "web"]), optional]).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].subject.as_str(), found[0].status),
            ("patch deployments web", FindingStatus::Fail)
        );
        assert!(found[0].message.contains("namespace n"));
        let asked = script.asked.lock().unwrap();
        assert_eq!(asked[2].2["spec"]["resourceAttributes"]["name"], "web");
    }

    #[test]
    fn what_is_allowed_is_counted_and_what_is_not_known_is_told_once() {
        let (first, second, third) = (rule(&[]), rule(&["a"]), rule(&["b"]));
        let answers = [Answer::Allowed, Answer::Unknown("gone".into()), Answer::Denied(Vec::new())];
        let found = told(&[&first, &second, &third], &answers);
        let shown: Vec<(&str, FindingStatus)> =
            found.iter().map(|finding| (finding.subject.as_str(), finding.status)).collect();
        assert_eq!(
            shown,
            [
                ("patch deployments", FindingStatus::Fail),
                ("patch deployments", FindingStatus::Unknown),
                ("1 right", FindingStatus::Pass)
            ]
        );
    }
}
