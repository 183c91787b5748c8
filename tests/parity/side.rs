//! One of the two sides of a scenario: a namespace in which a release is given a history.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Cluster, wait_for};
use crate::records;
use crate::tickets::Ticket;

/// The release of every scenario.
pub const RELEASE: &str = "shop";

/// What stands for the side's namespace in manifests; Helm fills it in, and [`Side::fill`] where Helm does not.
pub const NAMESPACE: &str = "{{ .Release.Namespace }}";

/// A version of Helm, and how it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Helm 3: three-way merge in the client.
    Helm3,
    /// Helm 4 as it comes: server-side apply.
    Helm4,
    /// Helm 4 with `--server-side=false`.
    Helm4ClientSide,
}

impl Mode {
    /// By the name of a test.
    pub fn named(name: &str) -> Self {
        match name {
            "helm_3" => Self::Helm3,
            "helm_4" => Self::Helm4,
            "helm_4_client_side" => Self::Helm4ClientSide,
            other => panic!("no Helm is called {other}"),
        }
    }

    /// The other version, as it comes.
    pub fn other(self) -> Self {
        if self == Self::Helm3 { Self::Helm4 } else { Self::Helm3 }
    }

    fn file(self) -> &'static str {
        if self == Self::Helm3 { "helm3" } else { "helm4" }
    }

    /// What it is told besides at every install, upgrade and rollback.
    fn arguments(self) -> &'static [&'static str] {
        if self == Self::Helm4ClientSide { &["--server-side=false"] } else { &[] }
    }
}

/// What a step deploys: templates, and what else a chart may hold.
#[derive(Debug, Clone, Default)]
pub struct Chart {
    /// The text of the one template.
    pub template: String,
    /// The text of `crds/`, which Helm does not fill in.
    pub definitions: String,
    /// The text of `NOTES.txt`.
    pub notes: String,
    /// User values of this step.
    pub values: Value,
}

impl<Text: Into<String>> From<Text> for Chart {
    fn from(template: Text) -> Self {
        Self { template: template.into(), ..Self::default() }
    }
}

/// A namespace with a release, and the tools that work there.
pub struct Side {
    /// The cluster, with the side's namespace as the default.
    pub cluster: Cluster,
    /// Who judges: the Helm that the scenario is about.
    pub judge: Mode,
    /// Who writes next; the judge where nothing else is said.
    pub writer: Cell<Mode>,
    /// The name under which the next Helm is started; Helm 3 calls its field manager after it.
    pub program: Cell<&'static str>,
    charts: RefCell<Vec<TempDir>>,
}

impl Side {
    /// Creates the namespace.
    pub fn create(cluster: &Cluster, name: &str, judge: Mode) -> Self {
        let namespace = format!("{}-{name}", cluster.namespace);
        let mut own = Cluster::connect(cluster.kubeconfig.clone(), cluster.tools.clone(), namespace.clone());
        own.environment.clone_from(&cluster.environment);
        own.create("namespaces", &json!({"metadata": {"name": namespace}}));
        let (writer, program) = (Cell::new(judge), Cell::new("helm"));
        Self { cluster: own, judge, writer, program, charts: RefCell::default() }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.cluster.namespace
    }

    /// A text with the namespace filled in.
    pub fn fill(&self, text: &str) -> String {
        text.replace(NAMESPACE, self.namespace())
    }

    /// Installs revision 1.
    #[track_caller]
    pub fn install(&self, chart: impl Into<Chart>) {
        self.succeed("install", &chart.into(), &[]);
    }

    /// Upgrades with these values in place of all earlier ones; does not wait.
    #[track_caller]
    pub fn upgrade(&self, chart: impl Into<Chart>) {
        self.succeed("upgrade", &chart.into(), &[]);
    }

    /// Upgrades with more arguments.
    #[track_caller]
    pub fn upgrade_with(&self, chart: impl Into<Chart>, arguments: &[&str]) {
        self.succeed("upgrade", &chart.into(), arguments);
    }

    /// Runs an upgrade that must fail; answers what it said.
    #[track_caller]
    pub fn upgrade_fails(&self, chart: impl Into<Chart>) -> String {
        let output = self.deploy("upgrade", &chart.into(), &[]);
        assert!(!output.status.success(), "the upgrade succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[track_caller]
    fn succeed(&self, verb: &str, chart: &Chart, arguments: &[&str]) {
        let output = self.deploy(verb, chart, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {verb} failed: {stderr}", self.writer.get());
    }

    /// Installs or upgrades.
    #[track_caller]
    pub fn deploy(&self, verb: &str, chart: &Chart, arguments: &[&str]) -> Output {
        let folder = self.write(chart);
        let values = chart.values.to_string();
        let mut all = vec![verb, RELEASE, &folder];
        if !chart.values.is_null() {
            all.extend(["-f", "-"]);
        }
        all.extend(self.writer.get().arguments().iter().chain(arguments));
        self.tool(self.writer.get(), &all, Some(&values))
    }

    /// Writes a chart; every one is a version of its own.
    pub fn write(&self, chart: &Chart) -> String {
        let folder = TempDir::new().unwrap();
        let version = self.charts.borrow().len() + 1;
        let path = |name: &str| folder.path().join(name);
        let meta =
            format!("apiVersion: v2\nname: parity\nversion: 0.{version}.0\nappVersion: \"{version}\"\n");
        fs::write(path("Chart.yaml"), meta).unwrap();
        fs::create_dir(path("templates")).unwrap();
        fs::write(path("templates/all.yaml"), &chart.template).unwrap();
        if !chart.notes.is_empty() {
            fs::write(path("templates/NOTES.txt"), &chart.notes).unwrap();
        }
        if !chart.definitions.is_empty() {
            fs::create_dir(path("crds")).unwrap();
            fs::write(path("crds/all.yaml"), self.fill(&chart.definitions)).unwrap();
        }
        let name = folder.path().display().to_string();
        self.charts.borrow_mut().push(folder);
        name
    }

    /// Runs a Helm with these arguments.
    pub fn tool(&self, mode: Mode, arguments: &[&str], input: Option<&str>) -> Output {
        let _ticket = Ticket::take();
        self.cluster.tool(mode.file(), self.program.get(), arguments, input)
    }

    /// Rolls back with the judge.
    pub fn helm_rollback(&self, revision: u64, arguments: &[&str]) -> Output {
        let revision = revision.to_string();
        let mut all = vec!["rollback", RELEASE, &revision];
        all.extend(self.judge.arguments().iter().chain(arguments));
        let _ticket = Ticket::take();
        self.cluster.tool(self.judge.file(), "helm", &all, None)
    }

    /// Runs a verb of the writer on the release (`rollback`, `uninstall`, …); it must succeed.
    #[track_caller]
    pub fn helm(&self, verb: &str, arguments: &[&str]) {
        let mut all = vec![verb, RELEASE];
        all.extend(arguments);
        if verb == "rollback" {
            all.extend(self.writer.get().arguments());
        }
        let output = self.tool(self.writer.get(), &all, None);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {all:?} failed: {stderr}", self.writer.get());
    }

    /// Runs kubectl in the namespace; it must succeed.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let _ticket = Ticket::take();
        self.cluster.kubectl(arguments)
    }

    /// `kubectl apply` of a manifest in which the namespace is filled in.
    #[track_caller]
    pub fn apply(&self, manifest: &str, arguments: &[&str]) {
        let _ticket = Ticket::take();
        let all: Vec<&str> = ["apply", "-f", "-"].iter().chain(arguments).copied().collect();
        let output = self.cluster.tool("kubectl", "kubectl", &all, Some(&self.fill(manifest)));
        assert!(
            output.status.success(),
            "kubectl {all:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Patches an object in the name of a manager; `name` may end in a subresource.
    #[track_caller]
    pub fn patch(&self, resource: &str, name: &str, manager: &str, patch: &Value) {
        self.cluster.patch(resource, name, manager, patch);
    }

    /// Empties `managedFields`, as some migrations and restores do.
    #[track_caller]
    pub fn clear_managed_fields(&self, resource: &str, name: &str) {
        self.patch(resource, name, "migration", &json!({"metadata": {"managedFields": [{}]}}));
    }

    /// Gives what one field manager owns to another, as if the release had always been deployed by that client.
    #[track_caller]
    pub fn rename_manager(&self, resource: &str, name: &str, from: &str, to: &str) {
        let object = self.cluster.get(resource, name);
        let mut entries = object["metadata"]["managedFields"].clone();
        let mut renamed = 0;
        for entry in entries.as_array_mut().unwrap() {
            if entry["manager"] == from {
                entry["manager"] = json!(to);
                renamed += 1;
            }
        }
        assert!(renamed > 0, "{resource} {name} has no fields of {from}");
        self.patch(resource, name, to, &json!({"metadata": {"managedFields": entries}}));
    }

    /// Changes a record's status behind everybody's back, as a killed Helm leaves it.
    #[track_caller]
    pub fn set_status(&self, revision: u64, status: &str) {
        records::set_status(&self.cluster, revision, status);
    }

    /// Starts an upgrade and kills it once the record of that revision is there and `is_far_enough`.
    #[track_caller]
    pub fn kill_upgrade(
        &self,
        chart: impl Into<Chart>,
        revision: u64,
        is_far_enough: impl Fn(&Cluster) -> bool,
    ) {
        let folder = self.write(&chart.into());
        let mut arguments = vec!["upgrade", RELEASE, &folder];
        arguments.extend(self.writer.get().arguments());
        let mut command = self.cluster.command(self.writer.get().file(), "helm", &arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Of a group of its own, so that nothing else hears of the end.
        command.process_group(0);
        let mut child = command.spawn().unwrap();
        let record = format!("sh.helm.release.v1.{RELEASE}.v{revision}");
        wait_for("the record of the upgrade", Duration::from_secs(60), || {
            self.cluster.find("secrets", &record).filter(|_| is_far_enough(&self.cluster))
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until an object has a value at a path.
    #[track_caller]
    pub fn wait_until(&self, resource: &str, name: &str, pointer: &str, value: &Value) {
        wait_for(&format!("{resource} {name} {pointer} = {value}"), Duration::from_secs(60), || {
            self.cluster.find(resource, name).filter(|object| object.pointer(pointer) == Some(value))
        });
    }

    /// Waits until the server serves nothing at a path any more, and says so in its discovery.
    #[track_caller]
    pub fn wait_until_unknown(&self, path: &str) {
        let group = path.split('/').nth(2).unwrap_or_default().to_owned();
        wait_for(&format!("{path} gone"), Duration::from_secs(60), || {
            let groups = self.cluster.send(Method::GET, "/apis", "application/json", &Value::Null).ok()?;
            let is_listed = groups["groups"].as_array()?.iter().any(|entry| entry["name"] == group.as_str());
            let answer = self.cluster.send(Method::GET, path, "application/json", &Value::Null);
            (!is_listed && answer.is_err()).then_some(())
        });
        // What Helm knows of the APIs it reads from files that it shares with kubectl, which asks anew here.
        self.kubectl(&["api-resources"]);
    }

    /// Takes away what the scenario made, beyond the namespace too. Best effort: it runs while a failed test unwinds.
    fn remove(&self) {
        let background = json!({"propagationPolicy": "Background"});
        for path in crate::objects::CLUSTER_SCOPED {
            let answer =
                self.cluster.send(Method::GET, path, "application/json", &Value::Null).unwrap_or_default();
            for item in answer["items"].as_array().into_iter().flatten() {
                let name = item["metadata"]["name"].as_str().unwrap_or_default();
                if name.contains(self.namespace()) {
                    let path = format!("{path}/{name}");
                    let _ = self.cluster.send(Method::DELETE, &path, "application/json", &background);
                }
            }
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if std::env::var_os("KUBECTL_ROLLBACK_TEST_KEEP").is_some() && std::thread::panicking() {
            crate::harness::say(&format!("namespace {} is kept", self.namespace()));
        } else {
            self.remove();
            self.cluster.remove_namespace();
        }
    }
}
