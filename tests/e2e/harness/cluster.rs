//! The cluster as a test sees it: plain JSON over the API, and kubectl for what a person would type.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A connection to the cluster; not shared between threads, see [`Cluster::another`].
pub struct Cluster {
    /// Path of the administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Folder of `helm3`, `helm4` and `kubectl`.
    pub tools: PathBuf,
    /// The namespace that requests go to.
    pub namespace: String,
    /// What Helm and the program find in their environment besides.
    pub environment: Vec<(&'static str, &'static str)>,
    runtime: Runtime,
    client: Client,
}

impl Cluster {
    pub fn connect(kubeconfig: PathBuf, tools: PathBuf, namespace: String) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(&kubeconfig).unwrap();
            let config =
                kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
            Client::try_from(config).unwrap()
        });
        Self { kubeconfig, tools, namespace, environment: Vec::new(), runtime, client }
    }

    /// Host and port of the API server.
    pub fn server_address(&self) -> String {
        let file = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let server = file.clusters[0].cluster.as_ref().and_then(|cluster| cluster.server.clone()).unwrap();
        server.trim_start_matches("https://").trim_end_matches('/').to_owned()
    }

    /// The same cluster and namespace by a connection of its own, for another thread.
    pub fn another(&self) -> Self {
        Self::connect(self.kubeconfig.clone(), self.tools.clone(), self.namespace.clone())
    }

    /// Sends one request; `kind` is the type of the body.
    pub fn send(&self, method: Method, path: &str, kind: &str, body: &Value) -> Result<Value, kube::Error> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request =
            Request::builder().method(method).uri(path).header("content-type", kind).body(bytes).unwrap();
        let answer = self.runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), self.client.request(request)).await
        });
        answer.unwrap_or_else(|_| panic!("the API server did not answer {path} within a minute"))
    }

    fn path(&self, resource: &str, name: &str) -> String {
        let group = group_of(resource);
        let namespace = if matches!(resource, "namespaces" | "nodes") {
            String::new()
        } else {
            format!("/namespaces/{}", self.namespace)
        };
        let name = if name.is_empty() { String::new() } else { format!("/{name}") };
        format!("/{group}{namespace}/{resource}{name}")
    }

    /// Every object of a kind in the namespace.
    #[track_caller]
    pub fn list(&self, resource: &str) -> Vec<Value> {
        self.list_selected(resource, "")
    }

    /// Objects of a kind by label selector (of signs that need no escape, beside `=`).
    #[track_caller]
    pub fn list_selected(&self, resource: &str, selector: &str) -> Vec<Value> {
        let path = format!("{}?labelSelector={}", self.path(resource, ""), selector.replace('=', "%3D"));
        let answer = self.send(Method::GET, &path, "application/json", &Value::Null);
        let answer = answer.unwrap_or_else(|error| panic!("cannot list {resource}: {error}"));
        answer["items"].as_array().cloned().unwrap_or_default()
    }

    /// One object; `None` where there is none.
    #[track_caller]
    pub fn find(&self, resource: &str, name: &str) -> Option<Value> {
        match self.send(Method::GET, &self.path(resource, name), "application/json", &Value::Null) {
            Ok(object) => Some(object),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("cannot get {resource} {name}: {error}"),
        }
    }

    /// One object that is there.
    #[track_caller]
    pub fn get(&self, resource: &str, name: &str) -> Value {
        self.find(resource, name).unwrap_or_else(|| panic!("{resource} {name} is not there"))
    }

    /// Creates an object.
    #[track_caller]
    pub fn create(&self, resource: &str, object: &Value) -> Value {
        self.send(Method::POST, &self.path(resource, ""), "application/json", object)
            .unwrap_or_else(|error| panic!("cannot create {resource}: {error}\n{object}"))
    }

    /// A pod as the API server would create it; `None` while it refuses, as in a namespace that is only just there.
    pub fn rehearse_pod(&self, pod: &Value) -> Option<Value> {
        let path = format!("{}?dryRun=All", self.path("pods", ""));
        self.send(Method::POST, &path, "application/json", pod).ok()
    }

    /// Changes an object by a merge patch, in the name of a field manager. `name` may end in a subresource.
    #[track_caller]
    pub fn patch(&self, resource: &str, name: &str, manager: &str, patch: &Value) -> Value {
        let path = format!("{}?fieldManager={manager}", self.path(resource, name));
        self.send(Method::PATCH, &path, "application/merge-patch+json", patch)
            .unwrap_or_else(|error| panic!("cannot patch {resource} {name}: {error}"))
    }

    /// Deletes an object, in the background.
    #[track_caller]
    pub fn delete(&self, resource: &str, name: &str) {
        let options = json!({"propagationPolicy": "Background"});
        self.send(Method::DELETE, &self.path(resource, name), "application/json", &options)
            .unwrap_or_else(|error| panic!("cannot delete {resource} {name}: {error}"));
    }

    /// Takes the test's namespace away without waiting, finalizers on its pods included. Best effort: it runs while
    /// a failed test unwinds.
    pub fn remove_namespace(&self) {
        let pods = self
            .send(Method::GET, &self.path("pods", ""), "application/json", &Value::Null)
            .unwrap_or_default();
        for pod in pods["items"].as_array().into_iter().flatten() {
            if let (Some(name), false) =
                (pod["metadata"]["name"].as_str(), pod["metadata"]["finalizers"].is_null())
            {
                let free = json!({"metadata": {"finalizers": null}});
                let _ =
                    self.send(Method::PATCH, &self.path("pods", name), "application/merge-patch+json", &free);
            }
        }
        let path = self.path("namespaces", &self.namespace);
        let _ =
            self.send(Method::DELETE, &path, "application/json", &json!({"propagationPolicy": "Background"}));
    }

    /// The resourceVersion of every object of the namespace that a release or this tool could write.
    #[track_caller]
    pub fn resource_versions(&self) -> Vec<String> {
        let resources = [
            "deployments",
            "statefulsets",
            "daemonsets",
            "replicasets",
            "controllerrevisions",
            "cronjobs",
            "jobs",
            "pods",
            "secrets",
            "configmaps",
            "services",
            "persistentvolumeclaims",
            "horizontalpodautoscalers",
            "leases",
        ];
        let versions = resources.iter().flat_map(|resource| {
            self.list(resource).into_iter().map(move |object| {
                let metadata = &object["metadata"];
                format!(
                    "{resource}/{} {} {}",
                    text(&metadata["name"]),
                    text(&metadata["uid"]),
                    text(&metadata["resourceVersion"])
                )
            })
        });
        versions.collect()
    }

    /// Runs kubectl in the namespace; it must succeed.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.tool("kubectl", "kubectl", arguments, None);
        assert!(
            output.status.success(),
            "kubectl {arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// One of the tools, about to work in the namespace, by the name that a user would have given it.
    pub fn command(&self, file: &str, name: &str, arguments: &[&str]) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(self.tools.join(file));
        // Field managers are named after the program: everybody's is called helm, not helm4.
        command.arg0(name).args(arguments.iter().map(OsStr::new)).arg("--namespace").arg(&self.namespace);
        command.env("KUBECONFIG", &self.kubeconfig).envs(self.environment.iter().copied());
        command
    }

    /// Runs one of the tools in the namespace.
    #[track_caller]
    pub fn tool(&self, file: &str, name: &str, arguments: &[&str], input: Option<&str>) -> Output {
        use std::io::Write as _;
        let mut command = self.command(file, name, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {file}: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        let input = input.unwrap_or_default().to_owned();
        // Beside the reading of the output: a tool that prints before it has read everything must not block.
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }
}

/// The text of a JSON string.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The API path of a resource's group and version.
fn group_of(resource: &str) -> &'static str {
    match resource {
        "deployments" | "statefulsets" | "daemonsets" | "replicasets" | "controllerrevisions" => {
            "apis/apps/v1"
        }
        "cronjobs" | "jobs" => "apis/batch/v1",
        "horizontalpodautoscalers" => "apis/autoscaling/v2",
        "roles" | "rolebindings" => "apis/rbac.authorization.k8s.io/v1",
        "leases" => "apis/coordination.k8s.io/v1",
        _ => "api/v1",
    }
}
