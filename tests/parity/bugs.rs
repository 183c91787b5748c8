//! Bugs of Helm that its users have reported and that both versions still have, each shown on Helm's side and absent on
//! ours. When Helm mends one, the test says so.

use serde_json::{Value, json};

use crate::contender::Contender;
use crate::harness::Cluster;
use crate::records;
use crate::scenarios::{annotated, config_map, web};
use crate::side::Side;
use crate::story::{Rollback, Told, tell};

/// A failed upgrade: the server refuses to change an immutable `ConfigMap`, while the rest is written.
fn frozen(value: &str) -> String {
    config_map("frozen", value).replace("\ndata:", "\nimmutable: true\ndata:")
}

fn with_sidecar(tag: &str) -> String {
    web(tag).replace(
        "      containers:\n",
        "      containers:\n        - {name: sidecar, image: \"ghcr.io/acme/sidecar:good-1\"}\n",
    )
}

/// Both sides with what they said, for the messages of failing tests.
struct Verdict {
    told: Told,
}

impl Verdict {
    fn of(name: &str, mode: &str, state: fn(&Side), rollback: &Rollback) -> Option<Self> {
        Some(Self { told: tell(name, mode, &[], state, rollback)? })
    }

    /// Demands something of Helm: that it still does what was reported.
    #[track_caller]
    fn helm<T: PartialEq + std::fmt::Debug>(&self, what: impl Fn(&Cluster, &str) -> T, reported: &T) {
        let (side, output) = &self.told.helm;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            &what(&side.cluster, &said),
            reported,
            "Helm behaves otherwise than reported; it said: {said}"
        );
    }

    /// Demands something of the program.
    #[track_caller]
    fn ours<T: PartialEq + std::fmt::Debug>(&self, what: impl Fn(&Cluster, &str) -> T, wanted: &T) {
        if self.told.contender == Contender::Program {
            let (side, output) = &self.told.ours;
            let said = [&output.stdout[..], &output.stderr[..]].concat();
            let said = String::from_utf8_lossy(&said);
            assert_eq!(&what(&side.cluster, &said), wanted, "the program said: {said}");
        }
    }

    /// Demands how they ended.
    #[track_caller]
    fn ended(&self, helm: bool, ours: bool) {
        self.helm(|_, _| self.told.helm.1.status.success(), &helm);
        self.ours(|_, _| self.told.ours.1.status.success(), &ours);
    }
}

fn containers(cluster: &Cluster) -> Vec<String> {
    cluster.workload("deploy/web").images.into_keys().collect()
}

fn statuses(cluster: &Cluster) -> Vec<String> {
    records::statuses(cluster)
}

fn has(name: &'static str) -> impl Fn(&Cluster, &str) -> bool {
    move |cluster, _| cluster.find("configmaps", name).is_some()
}

/// Whether the error itself says something; Helm 4 warns of more before.
fn fails_with(text: &'static str) -> impl Fn(&Cluster, &str) -> bool {
    move |_, said| said.rsplit("Error: ").next().is_some_and(|error| error.contains(text))
}

fn says(text: &'static str) -> impl Fn(&Cluster, &str) -> bool {
    move |_, said| said.contains(text)
}

/// helm#13346: what the failed upgrade before the last one wrote survives a rollback that reports success.
fn sidecar_of_a_failed_upgrade(mode: &str, survives: bool) {
    let state = |side: &Side| {
        side.install(web("good-1") + &frozen("1"));
        side.upgrade_fails(with_sidecar("good-2") + &frozen("2"));
        side.upgrade_fails(web("good-3") + &frozen("3"));
    };
    let Some(verdict) = Verdict::of("helm-13346", mode, state, &Rollback::to(1)) else { return };
    verdict.ended(true, true);
    let left: &[&str] = if survives { &["sidecar", "web"] } else { &["web"] };
    verdict.helm(|cluster, _| containers(cluster), &left.iter().map(ToString::to_string).collect());
    verdict.ours(|cluster, _| containers(cluster), &vec!["web".to_owned()]);
}

#[test]
fn helm_13346_client_side() {
    sidecar_of_a_failed_upgrade("helm_3", true);
}

#[test]
fn helm_13346_client_side_of_helm_4() {
    sidecar_of_a_failed_upgrade("helm_4_client_side", true);
}

#[test]
fn helm_13346_is_absent_on_the_server() {
    sidecar_of_a_failed_upgrade("helm_4", false);
}

/// helm#10363: an object that a failed upgrade created is never removed.
fn object_of_a_failed_upgrade(mode: &str) {
    let state = |side: &Side| {
        side.install(config_map("a", "1") + &frozen("1"));
        side.upgrade_fails(config_map("a", "2") + &config_map("left", "2") + &frozen("2"));
        side.upgrade(config_map("a", "3") + &frozen("1"));
    };
    let Some(verdict) = Verdict::of("helm-10363", mode, state, &Rollback::to(1)) else { return };
    verdict.ended(true, true);
    verdict.helm(has("left"), &true);
    verdict.ours(has("left"), &false);
}

#[test]
fn helm_10363_client_side() {
    object_of_a_failed_upgrade("helm_3");
}

#[test]
fn helm_10363_server_side() {
    object_of_a_failed_upgrade("helm_4");
}

/// helm#5315: an object that another release has taken over is deleted under its feet.
fn object_of_another_release(mode: &str) {
    let state = |side: &Side| {
        side.install(config_map("a", "1"));
        side.upgrade(config_map("a", "2") + &config_map("theirs", "2"));
        side.kubectl(&["annotate", "--overwrite", "configmap/theirs", "meta.helm.sh/release-name=other"]);
    };
    let Some(verdict) = Verdict::of("helm-5315", mode, state, &Rollback::to(1)) else { return };
    verdict.ended(true, true);
    verdict.helm(has("theirs"), &false);
    verdict.ours(has("theirs"), &true);
}

#[test]
fn helm_5315_client_side() {
    object_of_another_release("helm_3");
}

#[test]
fn helm_5315_server_side() {
    object_of_another_release("helm_4");
}

/// helm#12650: a rollback under load falls back to the manifest's number of pods.
fn replicas_of_an_autoscaler(mode: &str) {
    let state = |side: &Side| {
        let autoscaler = "\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 1, maxReplicas: 9, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]}\n---\n";
        side.install(web("good-1") + autoscaler);
        side.upgrade(web("good-2") + autoscaler);
        let scaled = json!({"spec": {"replicas": 4}});
        side.patch("deployments", "web/scale", "kube-controller-manager", &scaled);
    };
    let Some(verdict) = Verdict::of("helm-12650", mode, state, &Rollback::to(1)) else { return };
    let replicas = |cluster: &Cluster, _: &str| cluster.workload("deploy/web").replicas;
    verdict.ended(true, true);
    verdict.helm(replicas, &Some(1));
    verdict.ours(replicas, &Some(4));
}

#[test]
fn helm_12650_client_side() {
    replicas_of_an_autoscaler("helm_3");
}

#[test]
fn helm_12650_client_side_of_helm_4() {
    replicas_of_an_autoscaler("helm_4_client_side");
}

/// helm#32350: with `--cleanup-on-fail` and nothing to clean up, the reason of the failure is lost.
fn reason_hidden_by_the_cleanup(mode: &str, hides: bool) {
    let state = |side: &Side| {
        side.install(frozen("1"));
        side.kubectl(&["delete", "configmap/frozen"]);
        side.upgrade(frozen("2"));
    };
    let rollback = Rollback::to(1).flag("--cleanup-on-fail");
    let Some(verdict) = Verdict::of("helm-32350", mode, state, &rollback) else { return };
    verdict.ended(false, false);
    verdict.helm(says("object not found, skipping delete"), &true);
    verdict.helm(fails_with("immutable"), &!hides);
    verdict.ours(says("immutable"), &true);
}

#[test]
fn helm_32350_is_mended_in_helm_3() {
    reason_hidden_by_the_cleanup("helm_3", false);
}

#[test]
fn helm_32350_server_side() {
    reason_hidden_by_the_cleanup("helm_4", true);
}

/// An API that the cluster has lost since the revision was deployed.
fn lost_api(body: &mut Value) {
    let manifest = body["manifest"].as_str().unwrap().to_owned();
    let budget = "---\napiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata:\n  name: web\nspec:\n  minAvailable: 1\n  selector: {matchLabels: {app: web}}\n";
    body["manifest"] = json!(manifest + budget);
}

/// helm#12516: a revision with an API that the cluster no longer has leaves the release pending.
fn target_with_a_lost_api(mode: &str) {
    let state = |side: &Side| {
        side.install(config_map("a", "1"));
        side.upgrade(config_map("a", "2"));
        records::edit(&side.cluster, 1, lost_api);
    };
    let Some(verdict) = Verdict::of("helm-12516", mode, state, &Rollback::to(1)) else { return };
    verdict.ended(false, false);
    let stuck = ["1 superseded", "2 deployed", "3 pending-rollback"].map(str::to_owned).to_vec();
    verdict.helm(|cluster, _| statuses(cluster), &stuck);
    verdict.ours(|cluster, _| statuses(cluster), &stuck[..2].to_vec());
    verdict.ours(says("policy/v1beta1"), &true);
}

#[test]
fn helm_12516_client_side() {
    target_with_a_lost_api("helm_3");
}

#[test]
fn helm_12516_server_side() {
    target_with_a_lost_api("helm_4");
}

/// The other half of helm#12516: the API is lost to the *newer* revision, and nothing of it needs to be written.
#[test]
fn helm_12516_when_only_the_newer_one_names_the_lost_api() {
    let state = |side: &Side| {
        side.install(config_map("a", "1"));
        side.upgrade(config_map("a", "2"));
        records::edit(&side.cluster, 2, lost_api);
    };
    let Some(verdict) = Verdict::of("helm-12516-newer", "helm_4", state, &Rollback::to(1)) else { return };
    verdict.ended(false, true);
    verdict.helm(|cluster, _| statuses(cluster).pop(), &Some("3 pending-rollback".to_owned()));
    verdict.ours(|cluster, _| statuses(cluster).pop(), &Some("3 deployed".to_owned()));
}

/// helm#13462 and others: an object that is in the target, not in the newer manifest, and still there.
fn object_that_is_still_there(mode: &str, helm_succeeds: bool) {
    let state = |side: &Side| {
        side.install(config_map("a", "1") + &annotated("kept", "1", "helm.sh/resource-policy: keep"));
        side.upgrade(config_map("a", "2"));
    };
    let Some(verdict) = Verdict::of("helm-13462", mode, state, &Rollback::to(1)) else { return };
    verdict.ended(helm_succeeds, true);
    verdict.helm(says("no ConfigMap with the name \"kept\" found"), &!helm_succeeds);
    if !helm_succeeds {
        verdict
            .helm(|cluster, _| statuses(cluster).iter().any(|status| status.ends_with(" deployed")), &false);
    }
    verdict.ours(|cluster, _| statuses(cluster).pop(), &Some("3 deployed".to_owned()));
}

#[test]
fn no_object_with_the_name_found_in_helm_3() {
    object_that_is_still_there("helm_3", false);
}

#[test]
fn no_object_with_the_name_found_is_mended_in_helm_4() {
    object_that_is_still_there("helm_4", true);
}

/// One `kubectl scale`, and Helm 4 can neither upgrade nor roll back.
#[test]
fn conflict_after_kubectl_scale() {
    let state = |side: &Side| {
        side.install(web("good-1"));
        side.upgrade(web("good-2"));
        side.kubectl(&["scale", "deployment/web", "--replicas=2"]);
    };
    let Some(verdict) = Verdict::of("scale-conflict", "helm_4", state, &Rollback::to(1)) else { return };
    verdict.ended(false, true);
    verdict.helm(says("conflict with \"kubectl\""), &true);
    let image = |cluster: &Cluster, _: &str| cluster.image("deploy/web");
    verdict.helm(image, &"ghcr.io/acme/web:good-2".to_owned());
    verdict.ours(image, &"ghcr.io/acme/web:good-1".to_owned());
    // And Helm can go on.
    verdict.ours(
        |_, _| {
            verdict.told.ours.0.upgrade(web("good-3"));
            true
        },
        &true,
    );
}
