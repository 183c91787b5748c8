//! Every answer of a registry against every state of the nodes.

use super::*;
use crate::registry::Platform;
use crate::registry::pull_secrets::Pullers;

fn wanted(image: &str, policy: PullPolicy) -> Wanted {
    Wanted {
        image: image.parse().unwrap(),
        pullers: Pullers::default(),
        policy,
        starts: true,
        hint: "choose another".to_owned(),
    }
}

fn platform(architecture: &str) -> Platform {
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned() }
}

fn nodes(having: &[&str], others: usize) -> Vec<Node> {
    let node = |images: &[&str]| Node {
        platform: Some(platform("amd64")),
        images: images.iter().map(|image| (*image).to_owned()).collect(),
    };
    let mut nodes = vec![node(having)];
    nodes.extend((0..others).map(|_| node(&[])));
    nodes
}

const IMAGE: &str = "ghcr.io/acme/backend:v1";

fn said(policy: PullPolicy, answer: Answer, nodes: Option<&[Node]>) -> String {
    let found = findings(&[wanted(IMAGE, policy)], &[answer], nodes);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.check, finding.subject.as_str()), (Check::Image, IMAGE));
    format!("{:?}: {}", finding.status, finding.message)
}

#[test]
fn missing_blocks_unless_every_node_has_it() {
    let missing = || Some(Err(Problem::Missing));
    let (one, both) = (nodes(&[IMAGE], 1), nodes(&[IMAGE], 0));
    let (if_absent, always) = (PullPolicy::IfNotPresent, PullPolicy::Always);
    for (policy, nodes, expected) in [
        (if_absent, None, "Fail: the registry does not have it"),
        (if_absent, Some(&one), "Fail: the registry does not have it; 1 of 2 nodes do, which is not enough"),
        (
            if_absent,
            Some(&both),
            "Warn: the registry does not have it; all 1 nodes do, and start it without asking",
        ),
        (always, Some(&both), "Fail: the registry does not have it; 1 of 1 nodes do, which is not enough"),
    ] {
        assert_eq!(said(policy, missing(), nodes.map(Vec::as_slice)), expected);
    }
    let idle = Wanted { starts: false, ..wanted(IMAGE, always) };
    assert_eq!(findings(&[idle], &[missing()], None)[0].status, FindingStatus::Warn);
}

#[test]
fn what_exists_must_fit_a_node() {
    let found = |platforms| Some(Ok(ManifestInfo { digest: None, platforms }));
    let nodes = nodes(&[], 1);
    let policy = PullPolicy::Always;
    assert_eq!(said(policy, found(vec![]), Some(&nodes)), "Pass: the registry has it");
    let both = vec![platform("arm64"), platform("amd64")];
    assert_eq!(said(policy, found(both), Some(&nodes)), "Pass: the registry has it");
    assert_eq!(
        said(policy, found(vec![platform("arm64")]), Some(&nodes)),
        "Warn: it is made for linux/arm64, and the nodes are linux/amd64"
    );
    assert_eq!(said(policy, found(vec![platform("arm64")]), None), "Pass: the registry has it");
}

#[test]
fn what_is_never_pulled_must_be_on_nodes() {
    let (there, nowhere) = (nodes(&[IMAGE], 1), nodes(&[], 1));
    let never = PullPolicy::Never;
    assert!(said(never, None, Some(&there)).starts_with("Pass"));
    assert!(said(never, None, Some(&nowhere)).starts_with("Warn"));
    assert!(said(never, None, None).starts_with("Unknown"));
}

#[test]
fn one_unreachable_registry_is_one_finding_that_blocks_nothing() {
    let images = [IMAGE, "ghcr.io/acme/frontend:v1", "quay.io/acme/other:v1"];
    let wanted: Vec<Wanted> = images.iter().map(|image| wanted(image, PullPolicy::Always)).collect();
    let gone = |host: &str| Some(Err(Problem::Unreachable { host: host.to_owned(), why: "x".to_owned() }));
    let answers = [gone("ghcr.io"), gone("ghcr.io"), Some(Err(Problem::Busy))];
    let found = findings(&wanted, &answers, Some(&nodes(&[IMAGE], 1)));
    assert!(found.iter().all(|finding| finding.status == FindingStatus::Unknown));
    let texts: Vec<String> = found.iter().map(|one| format!("{}: {}", one.subject, one.message)).collect();
    assert_eq!(
        texts,
        [
            "2 images of ghcr.io: not known whether they exist: ghcr.io cannot be reached: x; on 0 to 1 of 2 nodes already",
            "quay.io/acme/other:v1: not known whether it exists: the registry limits how often it answers (429); none of 2 nodes lists it",
        ]
    );
}
