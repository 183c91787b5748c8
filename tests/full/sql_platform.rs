//! The sample platform with a real database: `tests/platform/todo-sql` at a version of a backend, with a schema at a revision.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Cluster, Helm, Release, Test, images_in, unique, wait_for};

/// The schema of tag `v1`.
pub const REVISION_OF_V1: &str = "1a2b3c4d5e02";
/// The schema of tags `v2` and `v2-crash`: what `v1` reads has another name.
pub const REVISION_OF_V2: &str = "1a2b3c4d5e03";
/// The schema of tag `v2-half`, from which only the first step back works.
pub const REVISION_OF_V2_HALF: &str = "1a2b3c4d5e04";

/// A program of migrations, and the backend's images that bring it along.
pub struct Program {
    /// The section of the configuration.
    pub database: &'static str,
    /// The images' repository.
    pub repository: &'static str,
    /// What the chart is told besides the image.
    values: fn() -> Value,
}

pub const ALEMBIC: Program = Program {
    database: "database: {adapter: alembic, workload: deploy/todo-backend}\n",
    repository: "ghcr.io/acme/backend-sql",
    values: || json!({}),
};

pub const DJANGO: Program = Program {
    database: "database: {adapter: django, workload: deploy/todo-backend}\n",
    repository: "ghcr.io/acme/backend-django",
    values: || {
        let consumer = json!({"command": "[python3, serve.py, remind]"});
        json!({"migrate": "python3 manage.py migrate --no-input", "consumer": consumer})
    },
};

impl Program {
    /// Values of the chart for a tag.
    pub fn values(&self, tag: &str) -> Value {
        let mut values = (self.values)();
        values["image"] = json!({"repository": self.repository, "tag": tag});
        values
    }
}

/// The release and its database.
pub struct SqlPlatform<'test> {
    /// The release `shop`.
    pub release: Release<'test>,
    program: &'static Program,
}

impl<'test> SqlPlatform<'test> {
    /// Installs `v1`; the chart's hook brings the database to [`REVISION_OF_V1`].
    #[track_caller]
    pub fn install(test: &'test Test) -> Self {
        let platform = Self::with(test, &ALEMBIC);
        assert_eq!(platform.revision(), REVISION_OF_V1);
        platform
    }

    /// Installs `v1` with another program of migrations, which the chart's hook runs.
    #[track_caller]
    pub fn with(test: &'test Test, program: &'static Program) -> Self {
        let release = Release::install(test, Helm::Four, "todo-sql", &program.values("v1"));
        Self { release, program }
    }

    fn cluster(&self) -> &'test Cluster {
        self.release.cluster
    }

    /// Upgrades to a tag; the chart's hook migrates first. Waits until everything is ready.
    #[track_caller]
    pub fn upgrade(&self, tag: &str) {
        self.release.upgrade_and_wait(&self.program.values(tag));
    }

    /// Upgrades to a tag whose backend crashes; the chart's hook migrates first. Waits for the first crash.
    #[track_caller]
    pub fn break_with(&self, tag: &str) {
        self.release.upgrade(&self.program.values(tag));
        self.wait_for_crash("todo-backend");
    }

    /// Waits until a pod of the Deployment's image was started again after a bad end; answers what it had said before that.
    #[track_caller]
    pub fn wait_for_crash(&self, name: &str) -> String {
        let cluster = self.cluster();
        let image = cluster.image(&format!("deploy/{name}"));
        wait_for(&format!("a crash of {name}"), Duration::from_secs(60), || {
            let pod = cluster.pods_of(name).into_iter().find(|pod| {
                let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
                images_in(&pod["spec"]).values().any(|found| *found == image)
                    && last["exitCode"].as_i64() > Some(0)
            })?;
            let pod = pod["metadata"]["name"].as_str().unwrap();
            // Between two deaths the kubelet keeps the log of the one before for a moment only.
            let previous = cluster.tool("kubectl", "kubectl", &["logs", pod, "--previous"], None);
            let said = String::from_utf8(previous.stdout).unwrap();
            (previous.status.success() && !said.is_empty()).then_some(said)
        })
    }

    /// The revision of the schema, which the database itself tells.
    #[track_caller]
    pub fn revision(&self) -> String {
        self.sql("SELECT version_num FROM alembic_version")
    }

    /// The columns of a table, by name.
    #[track_caller]
    pub fn columns(&self, table: &str) -> Vec<String> {
        let query = format!(
            "SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' ORDER BY ordinal_position"
        );
        self.sql(&query).lines().map(str::to_owned).collect()
    }

    /// What the database answers, as lines.
    #[track_caller]
    pub fn sql(&self, statement: &str) -> String {
        let psql = ["psql", "--username=todo", "--dbname=todo", "--no-psqlrc", "-Atc", statement];
        self.exec("deploy/todo-postgres", &psql)
    }

    /// What a command prints that is run in a pod of a workload.
    #[track_caller]
    pub fn exec(&self, workload: &str, command: &[&str]) -> String {
        let cluster = self.cluster();
        // The namespace stands in front: behind the command kubectl would take it for the command's own.
        let place = ["--namespace", &cluster.namespace, "exec", workload, "--"];
        let mut kubectl = Command::new(cluster.tools.join("kubectl"));
        let output =
            kubectl.args(place).args(command).env("KUBECONFIG", &cluster.kubeconfig).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Runs alembic in a pod of its own, of the image with this tag, and answers whether it succeeded and what it said.
    #[track_caller]
    pub fn alembic(&self, tag: &str, arguments: &[&str]) -> (bool, String) {
        let cluster = self.cluster();
        let name = format!("alembic-{}", unique());
        let command: Vec<&str> = ["alembic"].into_iter().chain(arguments.iter().copied()).collect();
        let container = json!({
            "name": "alembic", "image": format!("ghcr.io/acme/backend-sql:{tag}"), "command": command,
            "envFrom": [{"secretRef": {"name": "todo-database"}}],
        });
        let pod = json!({"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container]}});
        cluster.create("pods", &pod);
        let phase = wait_for("the end of alembic", Duration::from_secs(60), || {
            let phase = cluster.get("pods", &name)["status"]["phase"].clone();
            (phase == "Succeeded" || phase == "Failed").then_some(phase)
        });
        (phase == "Succeeded", cluster.kubectl(&["logs", &name]))
    }
}
