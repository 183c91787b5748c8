//! From what is needed and what is there to findings. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::needs::{Key, Need, Needs};
use crate::event::{Check, Finding, FindingStatus};
use crate::words::counted;

/// What became of the question for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is there, or will be; with its keys, where they are known.
    There(Option<BTreeSet<String>>),
    /// It is not there.
    Missing,
    /// The rollback itself deletes it.
    Deleted,
    /// It cannot be found out.
    Unknown(String),
}

/// The findings: one for each object that lacks something, one for all that are in order, one for each reason why others
/// could not be looked at.
pub fn findings(needs: &Needs, states: &BTreeMap<Key, State>, hint: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_order = 0;
    let mut untold: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (key, need) in &needs.0 {
        match states.get(key) {
            Some(State::There(keys)) => match lacking(need, keys.as_ref()) {
                Some(message) => findings.push(lacks(key, need, message, hint)),
                None => in_order += 1,
            },
            Some(State::Missing) => {
                findings.push(lacks(key, need, format!("{} it, and it does not exist", who(need)), hint));
            }
            Some(State::Deleted) => {
                let message = format!("{} it, and this rollback deletes it", who(need));
                findings.push(lacks(key, need, message, hint));
            }
            Some(State::Unknown(why)) => untold.entry(why).or_default().push(key.to_string()),
            None => untold.entry("it was not asked").or_default().push(key.to_string()),
        }
    }
    findings.extend(untold.into_iter().map(|(why, objects)| Finding {
        check: Check::Reference,
        subject: match objects.as_slice() {
            [one] => one.clone(),
            several => counted(several.len(), "object"),
        },
        status: FindingStatus::Unknown,
        message: format!("not known whether what the pods refer to exists: {why}"),
        hint: String::new(),
    }));
    if in_order > 0 {
        findings.push(Finding {
            check: Check::Reference,
            subject: counted(in_order, "object"),
            status: FindingStatus::Pass,
            message: "what the pods refer to exists".to_owned(),
            hint: String::new(),
        });
    }
    findings
}

fn who(need: &Need) -> String {
    let (users, verb) = if need.users.is_empty() { (&need.pullers, "pull") } else { (&need.users, "need") };
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let (s, with) = (if names.len() == 1 { "s" } else { "" }, if verb == "pull" { " with" } else { "" });
    format!("{} {verb}{s}{with}", names.join(", "))
}

/// What is said about keys that are not there.
fn lacking(need: &Need, keys: Option<&BTreeSet<String>>) -> Option<String> {
    let keys = keys?;
    let missing: Vec<String> = need
        .keys
        .iter()
        .filter(|(key, _)| !keys.contains(*key))
        .map(|(key, users)| {
            let users: Vec<&str> = users.iter().map(String::as_str).collect();
            format!("{key} (for {})", users.join(", "))
        })
        .collect();
    let plural = if missing.len() == 1 { "key" } else { "keys" };
    (!missing.is_empty()).then(|| format!("it lacks the {plural} {}", missing.join(", ")))
}

fn lacks(key: &Key, need: &Need, message: String, hint: &str) -> Finding {
    // Without a pull secret the kubelet tries all the same, and what is public is pulled.
    let is_soft = need.users.is_empty();
    let status = if is_soft || !need.starts { FindingStatus::Warn } else { FindingStatus::Fail };
    let hint = if is_soft { "images that are not public cannot be pulled without it" } else { hint };
    Finding { check: Check::Reference, subject: key.to_string(), status, message, hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(states: &[(&str, State)], starts: bool) -> Vec<(String, FindingStatus, String)> {
        let mut needs = Needs::default();
        let spec = json!({
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"envFrom": [{"configMapRef": {"name": "settings"}}],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}]}],
        });
        needs.add("deploy/web", "n", &spec, starts);
        let states = needs
            .0
            .keys()
            .filter_map(|key| {
                let state = states.iter().find(|(name, _)| *name == key.name)?;
                Some((key.clone(), state.1.clone()))
            })
            .collect();
        findings(&needs, &states, "restore it")
            .into_iter()
            .map(|finding| (finding.subject, finding.status, finding.message))
            .collect()
    }

    #[test]
    fn what_is_missing_fails_and_what_is_pulled_with_warns() {
        let keys = |names: &[&str]| State::There(Some(names.iter().map(|name| (*name).to_owned()).collect()));
        let there = State::There(None);
        let all = [("pull", there.clone()), ("settings", there.clone()), ("db", keys(&["url"]))];
        assert_eq!(
            judged(&all, true),
            [("3 objects".into(), FindingStatus::Pass, "what the pods refer to exists".into())]
        );
        let missing = [("pull", State::Missing), ("settings", State::Deleted), ("db", keys(&["user"]))];
        assert_eq!(
            judged(&missing, true),
            [
                ("Secret/db".into(), FindingStatus::Fail, "it lacks the key url (for deploy/web)".into()),
                (
                    "Secret/pull".into(),
                    FindingStatus::Warn,
                    "deploy/web pulls with it, and it does not exist".into()
                ),
                (
                    "ConfigMap/settings".into(),
                    FindingStatus::Fail,
                    "deploy/web needs it, and this rollback deletes it".into()
                ),
            ]
        );
        assert!(judged(&missing, false).iter().all(|(_, status, _)| *status == FindingStatus::Warn));
        let forbidden = State::Unknown("forbidden".into());
        let unknown = judged(&[("pull", forbidden.clone()), ("settings", there), ("db", forbidden)], true);
        assert_eq!(unknown[0].0, "2 objects");
        assert_eq!(unknown[0].1, FindingStatus::Unknown);
    }
}
