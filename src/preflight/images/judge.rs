//! From what registries and nodes say to findings. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::Answer;
use super::nodes::{Node, Questions};
use super::wanted::{PullPolicy, Wanted};
use crate::event::{Check, Finding, FindingStatus};
use crate::registry::{Location, ManifestInfo, Problem, location};

/// What the nodes have to be asked, after the registries have answered.
pub fn questions(wanted: &[Wanted], answers: &[Answer]) -> Questions {
    let is_found = |answer: &Answer| matches!(answer, Some(Ok(_)));
    let has_platforms = |answer: &Answer| matches!(answer, Some(Ok(found)) if !found.platforms.is_empty());
    Questions {
        images: wanted.iter().zip(answers).any(|(_, answer)| !is_found(answer)),
        platforms: answers.iter().any(has_platforms),
    }
}

/// The findings: one for each image, and one for all that a registry does not tell for the same reason.
pub fn findings(wanted: &[Wanted], answers: &[Answer], nodes: Option<&[Node]>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut untold: BTreeMap<(String, String), Vec<&Wanted>> = BTreeMap::new();
    for (wanted, answer) in wanted.iter().zip(answers) {
        match answer {
            None => findings.push(never_pulled(wanted, nodes)),
            Some(Ok(found)) => findings.push(present(wanted, found, nodes)),
            Some(Err(Problem::Missing)) => findings.push(missing(wanted, nodes)),
            Some(Err(problem)) => {
                let host = Location::of(&wanted.image.repository).host;
                untold.entry((host, problem.to_string())).or_default().push(wanted);
            }
        }
    }
    findings.extend(untold.iter().map(|((host, why), images)| unknown(host, why, images, nodes)));
    findings
}

fn finding(subject: String, status: FindingStatus, message: String, hint: &str) -> Finding {
    Finding { check: Check::Image, subject, status, message, hint: hint.to_owned() }
}

fn present(wanted: &Wanted, found: &ManifestInfo, nodes: Option<&[Node]>) -> Finding {
    let subject = wanted.image.to_string();
    let platforms: BTreeSet<_> =
        nodes.unwrap_or_default().iter().filter_map(|node| node.platform.as_ref()).collect();
    let fits = platforms.is_empty()
        || found.platforms.is_empty()
        || found.platforms.iter().any(|platform| platforms.contains(platform));
    if fits {
        let digest = found.digest.as_ref().map(|digest| format!(" ({digest})")).unwrap_or_default();
        return finding(subject, FindingStatus::Pass, format!("the registry has it{digest}"), "");
    }
    let list = |platforms: &mut dyn Iterator<Item = String>| platforms.collect::<Vec<_>>().join(", ");
    let name = |platform: &crate::registry::Platform| format!("{}/{}", platform.os, platform.architecture);
    let message = format!(
        "it is made for {}, and the nodes are {}",
        list(&mut found.platforms.iter().map(name)),
        list(&mut platforms.iter().map(|platform| name(platform)))
    );
    finding(subject, FindingStatus::Warn, message, "choose a tag that was built for these nodes")
}

/// On how many nodes an image is, of how many; `None` where that may not be read.
fn on_nodes(wanted: &Wanted, nodes: Option<&[Node]>) -> Option<(usize, usize)> {
    let nodes = nodes.filter(|nodes| !nodes.is_empty())?;
    let name = location::in_full(&wanted.image);
    Some((nodes.iter().filter(|node| node.images.contains(&name)).count(), nodes.len()))
}

fn missing(wanted: &Wanted, nodes: Option<&[Node]>) -> Finding {
    let subject = wanted.image.to_string();
    let nothing = "the registry does not have it".to_owned();
    match on_nodes(wanted, nodes) {
        Some((on, all)) if on == all && wanted.policy != PullPolicy::Always => finding(
            subject,
            FindingStatus::Warn,
            format!("{nothing}; all {all} nodes do, and start it without asking"),
            "a new node cannot start it: push it again",
        ),
        _ if !wanted.starts => finding(
            subject,
            FindingStatus::Warn,
            format!("{nothing}; no pod is started from it now"),
            &wanted.hint,
        ),
        Some((on, all)) if on > 0 => finding(
            subject,
            FindingStatus::Fail,
            format!("{nothing}; {on} of {all} nodes do, which is not enough"),
            &wanted.hint,
        ),
        _ => finding(subject, FindingStatus::Fail, nothing, &wanted.hint),
    }
}

/// `imagePullPolicy: Never`: the nodes decide. A node lists its largest images only, so that none is no proof.
fn never_pulled(wanted: &Wanted, nodes: Option<&[Node]>) -> Finding {
    let subject = wanted.image.to_string();
    let rule = "imagePullPolicy is Never";
    match on_nodes(wanted, nodes) {
        None => finding(
            subject,
            FindingStatus::Unknown,
            format!("{rule}, and which nodes have it may not be read"),
            "",
        ),
        Some((0, all)) => {
            let message = format!("{rule}, and none of {all} nodes lists it");
            finding(subject, FindingStatus::Warn, message, "load it onto the nodes, or let it be pulled")
        }
        Some((on, all)) => {
            finding(subject, FindingStatus::Pass, format!("{rule}, and {on} of {all} nodes have it"), "")
        }
    }
}

fn unknown(host: &str, why: &str, images: &[&Wanted], nodes: Option<&[Node]>) -> Finding {
    let subject = match images {
        [one] => one.image.to_string(),
        _ => format!("{} images of {host}", images.len()),
    };
    let counts: Option<Vec<(usize, usize)>> = images.iter().map(|wanted| on_nodes(wanted, nodes)).collect();
    let there = counts.filter(|counts| !counts.is_empty()).map(|counts| {
        let fewest = counts.iter().map(|(on, _)| *on).min().unwrap_or_default();
        let most = counts.iter().map(|(on, _)| *on).max().unwrap_or_default();
        let all = counts[0].1;
        match (fewest, most) {
            (_, 0) => {
                format!("; none of {all} nodes lists {}", if images.len() == 1 { "it" } else { "them" })
            }
            (fewest, most) if fewest == most => format!("; on {most} of {all} nodes already"),
            (fewest, most) => format!("; on {fewest} to {most} of {all} nodes already"),
        }
    });
    let there = there.unwrap_or_default();
    let what = if images.len() == 1 { "it exists" } else { "they exist" };
    finding(subject, FindingStatus::Unknown, format!("not known whether {what}: {why}{there}"), "")
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
