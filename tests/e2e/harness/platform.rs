//! The sample platform and its variants, installed by Helm.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::text;
use super::helm::HelmAtWork;
use super::{Cluster, Helm, Test, images_in, is_pod_ready, unique, wait_for};

/// The services of the main chart: key of their values, name of workload, container and ConfigMap, replicas.
pub const SERVICES: [(&str, &str, i64); 6] = [
    ("backend", "todo-backend", 2),
    ("frontend", "todo-frontend", 2),
    ("reminder", "reminder-consumer", 1),
    ("recurring", "recurring-consumer", 1),
    ("audit", "audit-consumer", 1),
    ("notification", "notification-consumer", 1),
];

/// Names of the workloads of the main chart that never take the team's tag.
pub const INFRASTRUCTURE: [&str; 4] = ["redpanda", "redis", "prometheus", "grafana"];

/// The folder of the charts.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/platform")
}

/// The path of a chart by its path below `tests/platform`; an absolute one stays.
pub fn chart(chart: &str) -> String {
    folder().join(chart).display().to_string()
}

/// A release of the main chart, of a variant, or of any other chart.
pub struct Release<'test> {
    pub cluster: &'test Cluster,
    /// Who installed it and upgrades it.
    pub helm: Helm,
    /// Its name.
    pub name: String,
    chart: String,
}

impl<'test> Release<'test> {
    /// Installs a chart by its path below `tests/platform` (or an absolute one) and waits until everything is ready.
    #[track_caller]
    pub fn install(test: &'test Test, helm: Helm, chart: &str, values: &Value) -> Self {
        let name = if chart == "todo-app" { "todo-app" } else { "shop" };
        let chart = self::chart(chart);
        let release = Self { cluster: &test.cluster, helm, name: name.to_owned(), chart };
        release.change("install", values, &[]);
        release.cluster.wait_until_ready();
        release
    }

    /// Upgrades with these values in place of all earlier ones; does not wait.
    #[track_caller]
    pub fn upgrade(&self, values: &Value) {
        self.change("upgrade", values, &[]);
    }

    /// Upgrades with these values and waits until everything is ready.
    #[track_caller]
    pub fn upgrade_and_wait(&self, values: &Value) {
        self.upgrade(values);
        self.cluster.wait_until_ready();
    }

    #[track_caller]
    fn change(&self, verb: &str, values: &Value, more: &[&str]) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(values.to_string().as_bytes()).unwrap();
        let file = file.path().display().to_string();
        let mut arguments = vec![verb, &self.name, &self.chart, "-f", &file];
        arguments.extend(more);
        self.helm.succeed(self.cluster, &arguments);
    }

    /// `helm upgrade --reuse-values` by either Helm; must succeed.
    #[track_caller]
    pub fn upgrade_reusing_values(&self, helm: Helm) {
        helm.succeed(self.cluster, &["upgrade", &self.name, &self.chart, "--reuse-values"]);
    }

    /// Starts `helm upgrade --reuse-values` and lets it work.
    #[track_caller]
    pub fn start_upgrade(&self, more: &[&str]) -> HelmAtWork {
        let arguments: Vec<&str> =
            ["upgrade", &self.name, &self.chart, "--reuse-values"].iter().chain(more).copied().collect();
        self.helm.start(self.cluster, &arguments)
    }

    /// Runs `helm upgrade --reuse-values` that must fail; answers what it said.
    #[track_caller]
    pub fn upgrade_fails(&self, helm: Helm) -> String {
        helm.fail(self.cluster, &["upgrade", &self.name, &self.chart, "--reuse-values"])
    }

    /// Where its chart is.
    pub fn chart_path(&self) -> &str {
        &self.chart
    }

    /// The newest revision's number and status.
    #[track_caller]
    pub fn newest(&self) -> (u64, String) {
        let history = self.helm.history(self.cluster, &self.name);
        let newest = history.last().expect("a history");
        (newest["revision"].as_u64().unwrap(), text(&newest["status"]).to_owned())
    }

    /// What users have set.
    #[track_caller]
    pub fn values(&self) -> Value {
        self.helm.values(self.cluster, &self.name)
    }

    /// Demands that Helm's records are as after a deploy of what runs now: the newest revision is the one that is
    /// deployed, its manifest names the live images, its values are these. Both Helms are asked.
    #[track_caller]
    pub fn assert_record(&self, revision: u64, values: &Value) {
        for helm in Helm::BOTH {
            let history = helm.history(self.cluster, &self.name);
            let statuses: Vec<String> = history
                .iter()
                .map(|entry| format!("{} {}", entry["revision"], text(&entry["status"])))
                .collect();
            assert_eq!(statuses.last(), Some(&format!("{revision} deployed")), "{helm:?}: {statuses:?}");
            let deployed = statuses.iter().filter(|status| status.ends_with(" deployed")).count();
            assert_eq!(deployed, 1, "{helm:?}: deployed revisions in {statuses:?}");
            assert_eq!(helm.values(self.cluster, &self.name), *values, "{helm:?}: values");
            self.assert_manifest_names_what_runs(helm);
        }
    }

    /// Demands that the images in `helm get manifest` are those that the workloads have.
    #[track_caller]
    pub fn assert_manifest_names_what_runs(&self, helm: Helm) {
        for (reference, images) in helm.images(self.cluster, &self.name) {
            assert_eq!(
                images,
                self.cluster.workload(&reference).images,
                "{helm:?}: images of {reference} in the manifest"
            );
        }
    }
}

impl Cluster {
    /// Waits until every workload of the namespace is ready.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait_for("every workload ready", Duration::from_secs(120), || {
            self.workloads().values().all(|workload| workload.ready).then_some(())
        });
    }

    /// Waits until every broken service of the main chart has a pod of its broken image that got as far as it can get.
    #[track_caller]
    pub fn wait_until_broken(&self) {
        wait_for("the broken deploy to break", Duration::from_secs(60), || {
            let pods = self.list("pods");
            let is_broken = |name: &str| {
                let image = self.image(&format!("deploy/{name}"));
                pods.iter().any(|pod| {
                    let is_new = images_in(&pod["spec"]).get(name) == Some(&image);
                    is_new && !is_pod_ready(pod) && pod["status"]["containerStatuses"].is_array()
                })
            };
            SERVICES.iter().all(|(_, name, _)| is_broken(name)).then_some(())
        });
    }

    /// Takes away what still serves of a Deployment after a broken deploy: the pods of its earlier ReplicaSets.
    #[track_caller]
    pub fn take_down(&self, name: &str) {
        let image = self.image(&format!("deploy/{name}"));
        for set in self.list_selected("replicasets", &format!("app.kubernetes.io/name={name}")) {
            if images_in(&set["spec"]["template"]["spec"]).get(name) != Some(&image) {
                self.delete("replicasets", text(&set["metadata"]["name"]));
            }
        }
        wait_for(&format!("no serving pod of {name}"), Duration::from_secs(30), || {
            let wanted = self
                .workload(&format!("deploy/{name}"))
                .replicas
                .and_then(|replicas| usize::try_from(replicas).ok());
            let pods = self.pods_of(name);
            (Some(pods.len()) == wanted && !pods.iter().any(is_pod_ready)).then_some(())
        });
    }
}

/// Values that give every service of the main chart one tag.
pub fn all_tags(tag: &str) -> Value {
    SERVICES
        .iter()
        .map(|(key, _, _)| ((*key).to_owned(), json!({"image": {"tag": tag}})))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Values that break every service of the main chart, each in one of three ways.
pub fn broken_tags() -> Value {
    json!({
        "backend": {"image": {"tag": "crash"}}, "frontend": {"image": {"tag": "unready"}},
        "reminder": {"image": {"tag": "missing"}}, "recurring": {"image": {"tag": "crash"}},
        "audit": {"image": {"tag": "unready"}}, "notification": {"image": {"tag": "missing"}},
    })
}

/// One set of values on top of another.
pub fn merge(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut merged = base.clone();
            for (key, value) in over {
                let value = base.get(key).map_or_else(|| value.clone(), |old| merge(old, value));
                merged.insert(key.clone(), value);
            }
            merged.into()
        }
        _ => over.clone(),
    }
}

/// A tag as a build gives it: the beginning of a commit's hash.
pub fn random_tag() -> String {
    unique()[..7].to_owned()
}
