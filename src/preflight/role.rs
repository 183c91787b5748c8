//! Rules as a Role that gives exactly them, and a `ClusterRole` for what is in no namespace. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::rules::Rule;

/// Whom the role is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Namespace of the `ServiceAccount`.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Group, resource and names of what some verbs are allowed on.
type Subject = (String, String, BTreeSet<String>);

/// Group, verbs and names that some resources have in common.
type Allowance<'a> = (String, BTreeSet<&'a str>, BTreeSet<String>);

/// The objects, in the order in which they are to be created: a Role and a `RoleBinding` for each namespace, and where
/// something is in none a `ClusterRole` and its binding. `name` is theirs.
pub fn objects(rules: &[Rule], name: &str, release_namespace: &str, holder: &Holder) -> Vec<Value> {
    let mut namespaces: BTreeMap<Option<&str>, Vec<&Rule>> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.required) {
        namespaces.entry(rule.permission.namespace.as_deref()).or_default().push(rule);
    }
    let mut objects = Vec::new();
    for (namespace, rules) in &namespaces {
        // What is in no namespace is named after the release's, so that two releases do not share it.
        let (kind, binding, name) = match namespace {
            Some(_) => ("Role", "RoleBinding", name.to_owned()),
            None => ("ClusterRole", "ClusterRoleBinding", format!("{name}-{release_namespace}")),
        };
        let mut metadata = json!({"name": name});
        if let Some(namespace) = namespace {
            metadata["namespace"] = json!(namespace);
        }
        let api = "rbac.authorization.k8s.io";
        objects.push(json!({
            "apiVersion": format!("{api}/v1"), "kind": kind, "metadata": metadata, "rules": policy(rules),
        }));
        objects.push(json!({
            "apiVersion": format!("{api}/v1"), "kind": binding, "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": holder.name, "namespace": holder.namespace}],
        }));
    }
    objects
}

/// The rules of a role: verbs of one resource together, then resources of one group with the same verbs.
fn policy(rules: &[&Rule]) -> Vec<Value> {
    let mut verbs: BTreeMap<Subject, BTreeSet<&str>> = BTreeMap::new();
    for rule in rules {
        let permission = &rule.permission;
        let subject = (permission.group.clone(), permission.resource.clone(), rule.names.clone());
        verbs.entry(subject).or_default().insert(permission.verb);
    }
    let mut resources: BTreeMap<Allowance<'_>, Vec<String>> = BTreeMap::new();
    for ((group, resource, names), verbs) in verbs {
        resources.entry((group, verbs, names)).or_default().push(resource);
    }
    let rule = |((group, verbs, names), resources): (Allowance<'_>, Vec<String>)| {
        let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        rule
    };
    resources.into_iter().map(rule).collect()
}

/// What would make checks and diagnoses better, as comments below the objects.
pub fn comments(rules: &[Rule]) -> String {
    let mut helpful: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| !rule.required) {
        let permission = &rule.permission;
        let scope = permission.namespace.clone().unwrap_or_else(|| "the whole cluster".to_owned());
        let resource = match permission.group.as_str() {
            "" => permission.resource.clone(),
            group => format!("{}.{group}", permission.resource),
        };
        helpful.entry((scope, resource)).or_default().insert(permission.verb);
    }
    let mut text = String::new();
    if !helpful.is_empty() {
        text.push_str("# Not needed, but checks, diagnoses and pruning are better with it:\n");
    }
    for ((scope, resource), verbs) in helpful {
        let verbs: Vec<&str> = verbs.into_iter().collect();
        let _ = writeln!(text, "#   {} {resource} in {scope}", verbs.join(","));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::rules::Permission;

    fn rule(namespace: Option<&str>, resource: &str, verb: &'static str, names: &[&str]) -> Rule {
        let permission = Permission {
            namespace: namespace.map(str::to_owned),
            group: "apps".to_owned(),
            resource: resource.to_owned(),
            verb,
        };
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Rule { permission, names, required: true, hint: "" }
    }

    #[test]
    fn every_rule_is_in_a_role_of_its_namespace() {
        let optional = Rule { required: false, ..rule(Some("n"), "replicasets", "list", &[]) };
        let rules = [
            rule(Some("n"), "deployments", "list", &[]),
            rule(Some("n"), "statefulsets", "list", &[]),
            rule(Some("n"), "deployments", "patch", &["web", "api"]),
            rule(Some("n"), "statefulsets", "patch", &["web", "api"]),
            rule(None, "things", "get", &["x"]),
            optional,
        ];
        let holder = Holder { namespace: "ci".into(), name: "runner".into() };
        let objects = objects(&rules, "rollback", "n", &holder);
        let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
        assert_eq!(kinds, ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]);
        assert_eq!(objects[0]["metadata"], json!({"name": "rollback-n"}));
        assert_eq!(
            objects[2]["rules"],
            json!([
                {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["list"]},
                {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["patch"], "resourceNames": ["api", "web"]},
            ])
        );
        assert_eq!(
            objects[3]["subjects"][0],
            json!({"kind": "ServiceAccount", "name": "runner", "namespace": "ci"})
        );
        assert!(comments(&rules).contains("#   list replicasets.apps in n\n"), "{}", comments(&rules));
    }
}
