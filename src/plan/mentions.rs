//! Images that a program starts by itself: named in arguments and variables of a container that is swapped, where the
//! swap does not reach. Operators do this (a solver, a config reloader, a job's runner), with the tag of the release.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Plan;
use crate::discover::{Snapshot, Workload};
use crate::event::{Check, Finding, FindingStatus};
use crate::registry::ImageReference;

/// A warning for every image with a tag that the plan takes away, where a planned workload names it outside of its
/// containers' `image`.
pub fn findings(plan: &Plan, snapshot: &Snapshot) -> Vec<Finding> {
    let changes = plan.workloads.iter().flat_map(|planned| &planned.containers);
    let old: BTreeSet<String> =
        changes.filter_map(|change| change.from.parse::<ImageReference>().ok()?.tag).collect();
    let workloads = plan.workloads.iter().filter_map(|planned| snapshot.workload(&planned.workload));
    let finding = |workload: &Workload, message| Finding {
        check: Check::Reference,
        subject: workload.reference.to_string(),
        status: FindingStatus::Warn,
        message,
        hint: "what it starts from there is still the old version: change the chart's value for it"
            .to_owned(),
    };
    workloads
        .flat_map(|workload| {
            mentions(workload, &old).into_iter().map(move |message| finding(workload, message))
        })
        .collect()
}

fn mentions(workload: &Workload, old: &BTreeSet<String>) -> BTreeSet<String> {
    let lists = ["initContainers", "containers"].into_iter();
    let containers =
        lists.flat_map(|list| workload.template()["spec"][list].as_array().into_iter().flatten());
    let mut found = BTreeSet::new();
    for container in containers {
        let name = container["name"].as_str().unwrap_or_default();
        for (place, text) in texts(container) {
            found.extend(
                images(text, old)
                    .map(|image| format!("container {name} names {image} in {place}, which stays as it is")),
            );
        }
    }
    found
}

/// What a container is started with, and where it stands. Never the whole text is shown: it may hold a password.
fn texts(container: &Value) -> impl Iterator<Item = (String, &str)> {
    let words =
        ["command", "args"].into_iter().flat_map(|list| container[list].as_array().into_iter().flatten());
    let words = words.filter_map(Value::as_str).map(|word| ("an argument".to_owned(), word));
    let variables = container["env"].as_array().into_iter().flatten().filter_map(|variable| {
        let name = variable["name"].as_str().unwrap_or_default();
        Some((format!("the variable {name}"), variable["value"].as_str()?))
    });
    words.chain(variables)
}

/// The images in a text that carry one of these tags: `--image=acme/solver:v1`, `a=acme/a:v1,b=acme/b:v1`.
fn images<'a>(text: &'a str, tags: &'a BTreeSet<String>) -> impl Iterator<Item = ImageReference> + 'a {
    let is_separator = |sign: char| sign.is_whitespace() || "=,;\"'".contains(sign);
    text.split(is_separator).filter(|word| word.contains('/') && !word.contains("://")).filter_map(|word| {
        let image: ImageReference = word.parse().ok()?;
        image.tag.as_ref().is_some_and(|tag| tags.contains(tag)).then_some(image)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workload::WorkloadKind;

    #[test]
    fn images_in_arguments_and_variables_are_named_and_nothing_else_of_them() {
        let container = json!({
            "name": "operator", "image": "acme/operator:v2",
            "command": ["/operator"],
            "args": ["--solver-image=ghcr.io/acme/solver:v2", "--password=acme/secret", "--at=http://acme/x:v2", "v2"],
            "env": [
                {"name": "RUNNERS", "value": "password=hunter2,a=acme/runner-a:v2,b=acme/runner-b:v1"},
                {"name": "VERSION", "value": "v2"},
                {"name": "FROM", "valueFrom": {}},
            ],
        });
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "operator", "namespace": "n"},
            "spec": {"template": {"spec": {"containers": [container]}}},
        });
        let workload = Workload::read(WorkloadKind::Deployment, &serde_json::from_value(object).unwrap());
        let found = mentions(&workload, &BTreeSet::from(["v2".to_owned()]));
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(
            found,
            [
                "container operator names acme/runner-a:v2 in the variable RUNNERS, which stays as it is",
                "container operator names ghcr.io/acme/solver:v2 in an argument, which stays as it is",
            ]
        );
    }
}
