//! Where we differ from Helm on purpose: the list from which `docs/parity.md` is made; nothing else may differ.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One deliberate difference.
pub struct Difference {
    /// How scenarios refer to it.
    pub name: &'static str,
    /// When it is seen.
    pub when: &'static str,
    /// What Helm does.
    pub helm: &'static str,
    /// What the program does.
    pub ours: &'static str,
    /// Why ours is right.
    pub why: &'static str,
    /// Tests of `bugs.rs` that show it, beside the scenarios that refer to it.
    pub bugs: &'static [&'static str],
}

/// All of them.
pub const KNOWN: &[Difference] = &[
    Difference {
        name: "refused-before-the-first-write",
        when: "the server will refuse an object: an immutable field, an invalid name, a kind that it no longer serves",
        helm: "writes the record and the objects before and after the refused one, then gives up: a cluster between two revisions, and a record that is `failed` with no other one deployed, or `pending-rollback` for ever",
        ours: "finds out by dry runs, changes nothing, writes no record, says which field it is (exit code 3)",
        why: "a rollback that cannot succeed must not make things worse; half of it is a state that nobody has tested",
        bugs: &["helm_12516_client_side", "helm_12516_server_side"],
    },
    Difference {
        name: "failed-hooks-close-the-record",
        when: "a rollback hook fails or cannot be created",
        helm: "leaves the new record at `pending-rollback`, its hook at `Running`; no deploy is possible afterwards",
        ours: "closes the record as `failed` with the reason, and the hook with how it ended; the deployed record stays deployed",
        why: "a record tells the truth when nobody works on it any more, and the next deploy must not need surgery",
        bugs: &[],
    },
    Difference {
        name: "pending-records-are-closed",
        when: "an interrupted operation left a pending record, and the rollback takes over",
        helm: "leaves it pending below the new deployed one",
        ours: "turns it into `failed`",
        why: "nobody works on it any more",
        bugs: &[],
    },
    Difference {
        name: "target-is-never-pruned",
        when: "the history is longer than its maximum",
        helm: "prunes the oldest records, the very one that it goes back to among them",
        ours: "keeps the target's record, even above the maximum",
        why: "the description says «Rollback to N»: what N was must remain to be seen",
        bugs: &[],
    },
    Difference {
        name: "apply-method-as-stored",
        when: "both versions of Helm have written the history",
        helm: "Helm 3 forgets `apply_method` in every record that it rewrites, Helm 4 adds `csa` where there was none",
        ours: "leaves the key as the target's record has it",
        why: "what is not understood is kept, and nothing is invented; without the key Helm 4 means `csa` as well",
        bugs: &[],
    },
    Difference {
        name: "all-newer-revisions-count",
        when: "more than one upgrade lies between the target and now, and some of them failed",
        helm: "compares with the last record only: containers, fields and objects of failed upgrades before it stay",
        ours: "takes away what any newer revision brought and the target lacks",
        why: "after a rollback the target runs, and nothing of what failed",
        bugs: &[
            "helm_13346_client_side",
            "helm_13346_client_side_of_helm_4",
            "helm_10363_client_side",
            "helm_10363_server_side",
        ],
    },
    Difference {
        name: "what-others-own-is-not-deleted",
        when: "another release has taken an object over since",
        helm: "deletes it",
        ours: "leaves it alone and says so",
        why: "it is no longer this release's",
        bugs: &["helm_5315_client_side", "helm_5315_server_side"],
    },
    Difference {
        name: "what-is-there-is-taken-back",
        when: "an object of the target is missing in the newer manifest and still there, for instance because of `helm.sh/resource-policy: keep`",
        helm: "Helm 3 fails with `no ConfigMap with the name \"x\" found`, and no record is deployed any more",
        ours: "applies it like any other, as Helm 4.2 does",
        why: "it is the release's own object",
        bugs: &["no_object_with_the_name_found_in_helm_3"],
    },
    Difference {
        name: "conflicts-are-decided",
        when: "somebody else owns a field that the target sets, and Helm 4 applies on the server",
        helm: "fails with a conflict after one `kubectl scale`, `kubectl edit` or a restored backup; whether other objects were written depends on their order",
        ours: "sets the target's value, and takes nothing else from the other owner",
        why: "the preview shows it and the user has confirmed it; Helm 3 has always done so",
        bugs: &["conflict_after_kubectl_scale"],
    },
    Difference {
        name: "first-error-is-kept",
        when: "a rollback with `--cleanup-on-fail` fails before it has created anything",
        helm: "Helm 4 reports `object not found, skipping delete` in place of the reason",
        ours: "reports the reason",
        why: "the reason is what the user needs",
        bugs: &["helm_32350_server_side"],
    },
    Difference {
        name: "autoscaler-keeps-its-number",
        when: "an autoscaler owns the replicas and the manifest names a number",
        helm: "resets the workload to the manifest's number; the autoscaler brings it back later, under load too late",
        ours: "sends the number that runs",
        why: "the manifest's number is where the autoscaler started, not what the load needs",
        bugs: &["helm_12650_client_side", "helm_12650_client_side_of_helm_4"],
    },
    Difference {
        name: "replicas-are-not-removed",
        when: "the newer manifest names `replicas` and the target does not",
        helm: "removes the field, which the server fills with 1",
        ours: "leaves the number that runs",
        why: "who leaves the number out wants somebody else to decide it, and not to run one pod",
        bugs: &[],
    },
    Difference {
        name: "string-data-is-removed",
        when: "a key of a Secret's `stringData` is in the newer manifest only",
        helm: "leaves it in `data`, with both ways of applying",
        ours: "removes it",
        why: "the target's Secret does not have it, and a credential that is not wanted should not stay",
        bugs: &[],
    },
    Difference {
        name: "service-account-is-removed",
        when: "`serviceAccountName` is in the newer manifest only",
        helm: "leaves the newer account, with both ways of applying: the server has copied the name to the deprecated `serviceAccount`, and copies it back",
        ours: "removes both",
        why: "the target ran under the default account; pods must not keep the rights of another one",
        bugs: &[],
    },
    Difference {
        name: "defaults-go-with-what-they-belong-to",
        when: "the target's variant of a structure forbids what the server had filled in for the newer one, such as a StatefulSet's `updateStrategy`",
        helm: "Helm 3 sends the new type beside the old default, the server refuses it, and the rollback fails",
        ours: "takes the default away together with what it belonged to, where the release's own write brought it about",
        why: "the result is what a fresh install of the target has",
        bugs: &[],
    },
    Difference {
        name: "custom-resources-are-repaired",
        when: "somebody has changed a field of a custom resource that both manifests have alike",
        helm: "merging in the client it compares the two manifests only, and leaves the change",
        ours: "sets what the target says",
        why: "a rollback restores what the target describes, whatever the kind; built-in kinds are treated so by Helm as well",
        bugs: &[],
    },
    Difference {
        name: "null-is-a-value",
        when: "a custom resource of the target holds an explicit `null`",
        helm: "Helm 3 sends it in a merge patch, where it means removal",
        ours: "stores it, where the definition allows it",
        why: "it is what an install of the target stores, and what Helm 4 does",
        bugs: &[],
    },
];

/// A difference by its name.
pub fn find(name: &str) -> Option<&'static Difference> {
    KNOWN.iter().find(|difference| difference.name == name)
}

/// The scenarios that show each difference.
fn shown_by() -> BTreeMap<&'static str, Vec<String>> {
    let mut shown: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, scenario) in crate::scenarios::all() {
        for expected in scenario.expected {
            let names = shown.entry(expected.why).or_default();
            if !names.contains(&name) {
                names.push(name.clone());
            }
        }
    }
    shown
}

/// The text of `docs/parity.md`.
fn document() -> String {
    let shown = shown_by();
    let scenarios = crate::scenarios::all().len();
    let mut text = format!(
        "# Parity with Helm\n\n\
        `to` is judged by both Helms: the same state of a cluster is built twice, one side is rolled back by Helm 3 or Helm 4 and the\n\
        other by this tool, then every object, every record and the outcome are compared. {scenarios} scenarios, most of them with Helm 3,\n\
        Helm 4 and Helm 4 with client-side apply, must be equal but for times, or differ in the ways below and in no other. A difference\n\
        that is not seen any more fails the tests as well.\n\n\
        Before every rollback of ours `diff` is asked, and the objects are read before and after: each must become what was said of it,\n\
        field by field, and nothing may happen to any other. No scenario is left out; where a rollback is refused, `diff` must know it,\n\
        and where it ends early, what it has not come to must be as it was. Of what the server chooses anew each time, such as a node\n\
        port, it counts that it is chosen.\n\n\
        The tests are in `tests/parity`, and this text is made from `tests/parity/differences.rs`.\n"
    );
    for difference in KNOWN {
        let Difference { name, when, helm, ours, why, bugs } = difference;
        let mut tests = shown.get(name).cloned().unwrap_or_default();
        tests.extend(bugs.iter().map(|test| format!("bugs::{test}")));
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        let _ = write!(
            text,
            "\n## {name}\n\nWhen {when}.\n\n- Helm: {helm}.\n- Ours: {ours}.\n- Why: {why}.\n- Shown by {}.\n",
            tests.join(", ")
        );
    }
    text
}

#[test]
fn the_document_says_what_the_tests_know() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/parity.md");
    let wanted = document();
    if std::env::var_os("KUBECTL_ROLLBACK_TEST_UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &wanted).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(is, wanted, "run this test with KUBECTL_ROLLBACK_TEST_UPDATE=1 to write it");
}

#[test]
fn every_difference_is_shown_by_a_test() {
    let shown = shown_by();
    let bugs = include_str!("bugs.rs");
    for difference in KNOWN {
        for test in difference.bugs {
            assert!(bugs.contains(&format!("fn {test}()")), "{}: there is no test {test}", difference.name);
        }
        assert!(shown.contains_key(difference.name) || !difference.bugs.is_empty(), "{}", difference.name);
    }
    for name in shown.keys() {
        assert!(find(name).is_some(), "no difference is called {name}");
    }
    assert!(crate::scenarios::all().len() >= 40);
}
