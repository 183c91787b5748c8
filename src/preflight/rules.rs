//! What a plan asks of the API server's authorizer, as a list of rules. Pure, and the one place where it stands: the
//! check before the first write and the printer of roles read the same list.

use std::collections::{BTreeMap, BTreeSet};

use crate::discover::rollback::RollbackSnapshot;
use crate::helm::hooks;
use crate::helm::storage::Driver;
use crate::plan::Plan;
use crate::plan::rollback::{Action, HOOK_EVENTS, ObjectStep, RollbackPlan};
use crate::workload::{WorkloadKind, WorkloadRef};

/// What to do without a right that only the record needs.
const WITHOUT_RECORD: &str = "--skip-reconcile leaves Helm's record alone (exit code 10)";
/// What to do without a right on one workload.
const WITHOUT_WORKLOAD: &str = "ask for this right, or exclude these workloads";
/// What to do without any other right.
const ASK: &str = "ask for this right";

/// One thing that somebody must be allowed to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// The namespace; `None` for what is in none, or for all of them.
    pub namespace: Option<String>,
    /// The API group; empty for the core group.
    pub group: String,
    /// The plural, with its subresource: `deployments`, `pods/log`.
    pub resource: String,
    /// `get`, `patch`, …
    pub verb: &'static str,
}

impl Permission {
    /// The resource without its subresource, and the subresource.
    pub fn parts(&self) -> (&str, Option<&str>) {
        match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource)),
            None => (&self.resource, None),
        }
    }
}

/// A permission with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What is to be allowed.
    pub permission: Permission,
    /// The objects that it is about; empty for every one of the kind.
    pub names: BTreeSet<String>,
    /// Whether the plan cannot be carried out without it. What only makes checks and diagnoses better is not.
    pub required: bool,
    /// What to do without it.
    pub hint: &'static str,
}

/// What decides the rules beside the plan.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is decided on its own")]
pub struct Extent {
    /// Where Helm's record will be written; `None` where it will not.
    pub records: Option<Driver>,
    /// Readiness is not waited for.
    pub no_wait: bool,
    /// Created objects are deleted after a failure.
    pub cleanup_on_fail: bool,
    /// Jobs are waited for.
    pub wait_for_jobs: bool,
    /// Revisions that stay in the history, where the operator says so.
    pub history_max: Option<usize>,
    /// The configuration names a database.
    pub database: bool,
}

/// Collects rules, each permission once.
#[derive(Default)]
struct Rules(BTreeMap<Permission, Rule>);

impl Rules {
    fn add(&mut self, place: &Place<'_>, verbs: &[&'static str], names: &[&str], hint: &'static str) {
        self.insert(place, verbs, names, Some(hint));
    }

    fn help(&mut self, place: &Place<'_>, verbs: &[&'static str]) {
        self.insert(place, verbs, &[], None);
    }

    fn insert(
        &mut self,
        place: &Place<'_>,
        verbs: &[&'static str],
        names: &[&str],
        hint: Option<&'static str>,
    ) {
        for verb in verbs {
            let permission = Permission {
                namespace: place.namespace.map(str::to_owned),
                group: place.group.to_owned(),
                resource: place.resource.to_owned(),
                verb,
            };
            let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let new = Rule {
                permission: permission.clone(),
                names: names.clone(),
                required: hint.is_some(),
                hint: hint.unwrap_or_default(),
            };
            match self.0.get_mut(&permission) {
                None => {
                    self.0.insert(permission, new);
                }
                Some(known) if new.required && !known.required => *known = new,
                Some(known) if known.required && !new.required => {}
                // Without names it is about every object.
                Some(known) if known.names.is_empty() || names.is_empty() => known.names.clear(),
                Some(known) => known.names.extend(names),
            }
        }
    }

    fn finish(self) -> Vec<Rule> {
        self.0.into_values().collect()
    }
}

/// A kind of object somewhere.
struct Place<'a> {
    namespace: Option<&'a str>,
    group: &'a str,
    resource: &'a str,
}

fn place<'a>(namespace: &'a str, group: &'a str, resource: &'a str) -> Place<'a> {
    Place { namespace: Some(namespace), group, resource }
}

/// The rules of every operation, whatever it changes.
pub fn of_every_operation(namespace: &str, extent: Extent) -> Vec<Rule> {
    let mut rules = Rules::default();
    every_operation(&mut rules, namespace, extent);
    rules.finish()
}

/// The rules of an emergency.
pub fn of_emergency(plan: &Plan, namespace: &str, extent: Extent) -> Vec<Rule> {
    let mut rules = Rules::default();
    every_operation(&mut rules, namespace, extent);
    for planned in &plan.workloads {
        let workload = &planned.workload;
        let resource = workload.kind.api_resource();
        let place = place(&workload.namespace, &resource.group, &resource.plural);
        rules.add(&place, &["get", "patch"], &[&workload.name], WITHOUT_WORKLOAD);
        if planned.unstick {
            delete_pods(&mut rules, &workload.namespace);
        }
        watch_pods(&mut rules, &workload.namespace);
    }
    let waited = plan.workloads.iter().map(|planned| &planned.workload).chain(&plan.unchanged);
    waits(&mut rules, waited, extent);
    checks(&mut rules, namespace);
    rules.finish()
}

/// The rules of a rollback to a stored revision.
pub fn of_rollback(plan: &RollbackPlan, snapshot: &RollbackSnapshot, extent: Extent) -> Vec<Rule> {
    let mut rules = Rules::default();
    every_operation(&mut rules, &plan.namespace, extent);
    for found in &snapshot.objects {
        let key = &found.history.key;
        let place = Place {
            namespace: key.namespace.as_deref(),
            group: &found.resource.group,
            resource: &found.resource.plural,
        };
        rules.add(&place, &["get"], &[&key.name], ASK);
        if let Some(step) = plan.objects.iter().find(|step| step.key == *key) {
            write(&mut rules, &place, step, extent);
        }
    }
    for workload in &plan.unstick {
        delete_pods(&mut rules, &workload.namespace);
    }
    run_hooks(&mut rules, plan, snapshot);
    waits(&mut rules, plan.waits.iter(), extent);
    if !plan.waits.is_empty() && !extent.no_wait {
        watch_pods(&mut rules, &plan.namespace);
    }
    checks(&mut rules, &plan.namespace);
    rules.finish()
}

/// What every operation does, whatever it changes: it reads the namespace and Helm's records, and writes a record.
fn every_operation(rules: &mut Rules, namespace: &str, extent: Extent) {
    for kind in WorkloadKind::ALL {
        let resource = kind.api_resource();
        rules.add(&place(namespace, &resource.group, &resource.plural), &["list"], &[], ASK);
    }
    rules.add(&place(namespace, "", "pods"), &["list"], &[], ASK);
    // The lock, the journal and the Events are a courtesy to others: without these rights it is said that they are missing.
    rules.help(&place(namespace, "coordination.k8s.io", "leases"), &["create", "get", "patch", "update"]);
    rules.help(&place(namespace, "", "secrets"), &["create", "delete", "get", "list", "patch"]);
    rules.help(&place(namespace, "events.k8s.io", "events"), &["create", "patch"]);
    if extent.database {
        // Where the program of migrations cannot be run, that is what the check of the schema says.
        rules.help(&place(namespace, "batch", "jobs"), &["create", "delete", "get", "list"]);
        rules.help(&place(namespace, "", "pods/exec"), &["create"]);
        rules.help(&place(namespace, "", "pods/log"), &["get"]);
    }
    if let Some(driver) = extent.records {
        let records = place(namespace, "", driver.plural());
        rules.add(&records, &["create", "get", "list", "patch"], &[], WITHOUT_RECORD);
        // A record that is withdrawn or pruned: a warning where that fails.
        rules.help(&records, &["delete"]);
    }
}

/// What one object of a rollback needs. A dry run asks about it under another name, and by an update.
fn write(rules: &mut Rules, place: &Place<'_>, step: &ObjectStep, extent: Extent) {
    let name = step.key.name.as_str();
    match step.action {
        Action::Create => {
            rules.add(place, &["create"], &[], ASK);
            rules.add(place, &["patch"], &[name], ASK);
            if extent.cleanup_on_fail {
                rules.add(place, &["delete"], &[name], "leave --cleanup-on-fail away");
            }
        }
        Action::Apply => rules.add(place, &["create", "patch", "update"], &[], ASK),
        Action::Replace => rules.add(place, &["update"], &[name], ASK),
        Action::Delete => rules.add(place, &["delete"], &[name], ASK),
        Action::Keep => {}
    }
    if step.forget {
        rules.add(place, &["patch"], &[name], ASK);
    }
    if extent.wait_for_jobs && step.key.group == "batch" && step.key.kind == "Job" {
        watch_pods(rules, step.key.namespace.as_deref().unwrap_or_default());
    }
}

fn run_hooks(rules: &mut Rules, plan: &RollbackPlan, snapshot: &RollbackSnapshot) {
    let without = "ask for this right, or leave the hooks out with --no-hooks";
    if plan.hooks.is_empty() {
        return;
    }
    let hooks = HOOK_EVENTS
        .iter()
        .flat_map(|event| hooks::of_event(&snapshot.target.record, event).unwrap_or_default());
    for object in hooks.flat_map(|hook| hook.objects) {
        let text = |pointer: &str| object.pointer(pointer).and_then(serde_json::Value::as_str);
        let (Some(version), Some(kind)) = (text("/apiVersion"), text("/kind")) else { continue };
        let Some((resource, is_namespaced)) = snapshot.apis.resolve(version, kind) else { continue };
        let own = text("/metadata/namespace").unwrap_or(&plan.namespace);
        let place = Place {
            namespace: is_namespaced.then_some(own),
            group: &resource.group,
            resource: &resource.plural,
        };
        rules.add(&place, &["create", "delete", "get", "patch"], &[], without);
    }
}

fn delete_pods(rules: &mut Rules, namespace: &str) {
    let without = "ask for this right, or exclude the StatefulSets";
    rules.add(&place(namespace, "", "pods"), &["delete"], &[], without);
}

fn watch_pods(rules: &mut Rules, namespace: &str) {
    rules.add(&place(namespace, "", "pods"), &["list", "watch"], &[], ASK);
}

/// What waiting for readiness reads.
fn waits<'a>(rules: &mut Rules, workloads: impl Iterator<Item = &'a WorkloadRef>, extent: Extent) {
    let without = "ask for this right, or do not wait: --no-wait";
    let waited = workloads.filter(|workload| !extent.no_wait && workload.kind != WorkloadKind::CronJob);
    for workload in waited {
        let namespace = &workload.namespace;
        let resource = workload.kind.api_resource();
        rules.add(&place(namespace, &resource.group, &resource.plural), &["list", "watch"], &[], without);
        rules.add(&place(namespace, "", "pods"), &["list", "watch"], &[], without);
        rules.help(&place(namespace, "apps", "replicasets"), &["list", "watch"]);
        rules.help(&place(namespace, "", "events"), &["list", "watch"]);
        rules.help(&place(namespace, "", "pods/log"), &["get"]);
    }
}

/// What only makes plans, checks and diagnoses better.
fn checks(rules: &mut Rules, namespace: &str) {
    for (group, resource, verb) in [
        ("apps", "replicasets", "list"),
        ("apps", "controllerrevisions", "list"),
        ("autoscaling", "horizontalpodautoscalers", "list"),
        ("keda.sh", "scaledobjects", "list"),
        ("policy", "poddisruptionbudgets", "list"),
        ("", "limitranges", "list"),
        ("", "pods", "create"),
        ("", "secrets", "get"),
        ("", "configmaps", "get"),
        ("", "persistentvolumeclaims", "get"),
        ("", "serviceaccounts", "get"),
    ] {
        rules.help(&place(namespace, group, resource), &[verb]);
    }
    for (group, resource, verb) in [
        ("", "nodes", "list"),
        ("scheduling.k8s.io", "priorityclasses", "get"),
        ("argoproj.io", "applications", "list"),
        ("helm.toolkit.fluxcd.io", "helmreleases", "get"),
        ("kustomize.toolkit.fluxcd.io", "kustomizations", "get"),
    ] {
        rules.help(&Place { namespace: None, group, resource }, &[verb]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::patches::tests::sample;
    use crate::plan::strategy::Strategy;

    fn plan() -> Plan {
        Plan {
            release: None,
            target: String::new(),
            tag: None,
            same_images_as: None,
            workloads: vec![sample(Strategy::Rolling), sample(Strategy::StopFirst)],
            unchanged: Vec::new(),
            skipped: Vec::new(),
            findings: Vec::new(),
            database: None,
        }
    }

    fn required(plan: &Plan, extent: Extent) -> Vec<String> {
        let rules = of_emergency(plan, "n", extent);
        let shown = |rule: &Rule| {
            let names: Vec<&str> = rule.names.iter().map(String::as_str).collect();
            let Permission { verb, resource, .. } = &rule.permission;
            format!("{verb} {resource} {}", names.join(",")).trim_end().to_owned()
        };
        rules.iter().filter(|rule| rule.required).map(shown).collect()
    }

    #[test]
    fn only_what_the_plan_uses_is_required() {
        let no_wait = Extent { no_wait: true, ..Extent::default() };
        let mut plan = plan();
        let name = plan.workloads[0].workload.name.clone();
        let of_the_workload = [format!("get deployments {name}"), format!("patch deployments {name}")];
        let found = required(&plan, no_wait);
        for wanted in of_the_workload.iter().map(String::as_str).chain(["list cronjobs", "list pods"]) {
            assert!(found.iter().any(|rule| rule == wanted), "{wanted}: {found:?}");
        }
        assert!(!found.iter().any(|rule| rule.contains("watch deployments")), "{found:?}");
        assert!(!found.iter().any(|rule| rule.contains("secrets") || rule.contains("delete")), "{found:?}");

        let waits = required(&plan, Extent { records: Some(Driver::ConfigMaps), ..Extent::default() });
        for wanted in ["watch deployments", "watch pods", "create configmaps", "patch configmaps"] {
            assert!(waits.iter().any(|rule| rule == wanted), "{wanted}: {waits:?}");
        }
        assert!(!waits.iter().any(|rule| rule.contains("secrets")), "{waits:?}");
        plan.workloads[0].unstick = true;
        assert!(required(&plan, no_wait).contains(&"delete pods".to_owned()));
    }

    #[test]
    fn names_are_joined_and_a_rule_without_names_is_about_all() {
        let mut rules = Rules::default();
        let here = place("n", "apps", "deployments");
        rules.add(&here, &["patch"], &["b"], ASK);
        rules.add(&here, &["patch"], &["a"], ASK);
        rules.help(&here, &["patch", "list"]);
        rules.add(&here, &["get"], &["a"], ASK);
        rules.add(&here, &["get"], &[], ASK);
        let found = rules.finish();
        let names = |verb: &str| {
            let rule = found.iter().find(|rule| rule.permission.verb == verb).unwrap();
            (rule.names.iter().cloned().collect::<Vec<_>>().join(","), rule.required)
        };
        assert_eq!(names("patch"), ("a,b".to_owned(), true));
        assert_eq!(names("get"), (String::new(), true));
        assert_eq!(names("list"), (String::new(), false));
    }
}
