//! Both Helms, as those who judge the records.

use std::collections::BTreeMap;
use std::process::{Child, Output, Stdio};

use serde_json::{Deserializer, Value};

use super::cluster::text;
use super::{Cluster, images_in};

/// A Helm that was started and not waited for; it is killed at the latest when the test ends.
pub struct HelmAtWork(Child);

impl HelmAtWork {
    /// Kills it in the middle of its work.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for HelmAtWork {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A version of Helm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helm {
    /// Helm 3: client-side apply.
    Three,
    /// Helm 4: server-side apply.
    Four,
}

impl Helm {
    /// Both versions.
    pub const BOTH: [Self; 2] = [Self::Three, Self::Four];

    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Three => "helm3",
            Self::Four => "helm4",
        }
    }

    /// Runs it in the namespace.
    #[track_caller]
    pub fn run(self, cluster: &Cluster, arguments: &[&str]) -> Output {
        cluster.tool(self.file(), "helm", arguments, None)
    }

    /// Starts it in the namespace.
    #[track_caller]
    pub fn start(self, cluster: &Cluster, arguments: &[&str]) -> HelmAtWork {
        let mut command = cluster.command(self.file(), "helm", arguments);
        HelmAtWork(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Runs it in the namespace; it must succeed.
    #[track_caller]
    pub fn succeed(self, cluster: &Cluster, arguments: &[&str]) -> String {
        let output = self.run(cluster, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} {arguments:?} failed: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it in the namespace; it must fail, and the answer is what it said.
    #[track_caller]
    pub fn fail(self, cluster: &Cluster, arguments: &[&str]) -> String {
        let output = self.run(cluster, arguments);
        assert!(!output.status.success(), "{self:?} {arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// `helm history`.
    #[track_caller]
    pub fn history(self, cluster: &Cluster, release: &str) -> Vec<Value> {
        let output = self.succeed(cluster, &["history", release, "-o", "json"]);
        serde_json::from_str(&output).unwrap()
    }

    /// `helm get values`: what users have set.
    #[track_caller]
    pub fn values(self, cluster: &Cluster, release: &str) -> Value {
        serde_json::from_str(&self.succeed(cluster, &["get", "values", release, "-o", "json"])).unwrap()
    }

    /// The images in `helm get manifest` by workload (`deploy/name`) and container. kubectl reads the YAML.
    #[track_caller]
    pub fn images(self, cluster: &Cluster, release: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let manifest = self.succeed(cluster, &["get", "manifest", release]);
        let arguments = ["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-"];
        let output = cluster.tool("kubectl", "kubectl", &arguments, Some(&manifest));
        assert!(
            output.status.success(),
            "kubectl cannot read: {}\n{manifest}",
            String::from_utf8_lossy(&output.stderr)
        );
        let objects = Deserializer::from_slice(&output.stdout).into_iter::<Value>().map(Result::unwrap);
        objects
            .filter_map(|object| {
                let (short, template) = match text(&object["kind"]) {
                    "Deployment" => ("deploy", &object["spec"]["template"]),
                    "StatefulSet" => ("sts", &object["spec"]["template"]),
                    "DaemonSet" => ("ds", &object["spec"]["template"]),
                    "CronJob" => ("cronjob", &object["spec"]["jobTemplate"]["spec"]["template"]),
                    _ => return None,
                };
                Some((format!("{short}/{}", text(&object["metadata"]["name"])), images_in(&template["spec"])))
            })
            .collect()
    }
}
