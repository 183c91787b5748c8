//! Simulated nodes: kwok answers for the kubelets, stages in `tests/cluster/stages` say how pods behave.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::certificates::Authority;
use super::components::{self, Component, Network, kubeconfig_of};
use super::supervisor::Supervisor;
use crate::folders;
use crate::process::output_of;
use crate::tools::KUBERNETES_VERSION;

/// Stands in stage files for the absolute folder of the log files that pods shall have.
const LOG_FOLDER_MARK: &str = "@LOGS@";

/// Nodes with this label have a kubelet; a node without it (or that loses it) is a dead machine.
const KUBELET_LABEL: (&str, &str) = ("kubectl-rollback.test/kubelet", "simulated");

const NODES: usize = 10;

/// Starts everything and waits until pods can run.
pub fn start(supervisor: &mut Supervisor) -> Result<()> {
    let folder = supervisor.folder().to_path_buf();
    let network = Network::loopback()?;
    let authority = components::prepare(&folder, &network)?;
    let binary = supervisor.tools().components.clone();
    let kubectl = supervisor.tools().kubectl();
    supervisor.launch(components::etcd(&binary, &folder, &network))?;
    supervisor.launch(components::api_server(&binary, &network, &authority))?;
    supervisor.wait_for_api_server()?;
    supervisor.launch(components::controller_manager(&binary, &folder, &authority))?;
    supervisor.launch(components::scheduler(&binary, &folder))?;
    install_kinds(&kubectl, &folder)?;
    let kwok = supervisor.tools().kwok.clone();
    supervisor.launch(kubelets(&kwok, &folder, &network, &authority)?)?;
    create_nodes(&kubectl, &folder)?;
    supervisor.wait_for_nodes()?;
    supervisor.wait_for_service_account()
}

/// The process that plays all kubelets, configured by every stage file of the repository.
fn kubelets(program: &Path, folder: &Path, network: &Network, authority: &Authority) -> Result<Component> {
    let configuration = folder.join("stages.yaml");
    fs::write(&configuration, stages(&folders::repository().join("tests/cluster"))?)?;
    let (label, value) = KUBELET_LABEL;
    let arguments = vec![
        format!("--kubeconfig={}", kubeconfig_of(folder, "administrator").display()),
        format!("--config={}", configuration.display()),
        "--manage-all-nodes=false".to_owned(),
        format!("--manage-nodes-with-label-selector={label}={value}"),
        "--enable-crds=Logs".to_owned(),
        // Without Leases the controllers take every node for lost after a while, and its pods for unready.
        "--node-lease-duration-seconds=40".to_owned(),
        format!("--node-ip={}", network.kubelet_address),
        format!("--node-port={}", network.kubelet_port),
        format!("--server-address={}:{}", network.kubelet_address, network.kubelet_port),
        format!("--tls-cert-file={}", authority.certificate("kubelet-server").display()),
        format!("--tls-private-key-file={}", authority.key("kubelet-server").display()),
    ];
    Ok(Component { name: "kwok", program: program.to_path_buf(), arguments })
}

/// Installs the kinds that stages need; kwok must find them when it starts.
fn install_kinds(kubectl: &Path, folder: &Path) -> Result<()> {
    let kinds = folders::repository().join("tests/cluster/logs/crd.yaml");
    let kubectl_with = |arguments: &[&str]| {
        let mut command = Command::new(kubectl);
        command.arg("--kubeconfig").arg(kubeconfig_of(folder, "administrator")).args(arguments);
        output_of(command.arg("--filename").arg(&kinds))
    };
    kubectl_with(&["create"])?;
    kubectl_with(&["wait", "--for=condition=Established", "--timeout=30s"]).map(|_| ())
}

/// All stage files in one text, in the order of their names.
fn stages(folder: &Path) -> Result<String> {
    let stage_folder = folder.join("stages");
    let mut files: Vec<_> = fs::read_dir(&stage_folder)
        .with_context(|| format!("cannot read {}", stage_folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let logs = folder.join("logs").display().to_string();
    let mut text = String::new();
    for file in files {
        let stage = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        writeln!(text, "{}\n---", stage.replace(LOG_FOLDER_MARK, &logs))?;
    }
    Ok(text)
}

/// Creates the nodes: large machines, so that only the number of pods limits a test.
fn create_nodes(kubectl: &Path, folder: &Path) -> Result<()> {
    let nodes: Vec<Value> = (0..NODES).map(node).collect();
    let file = folder.join("nodes.json");
    fs::write(
        &file,
        serde_json::to_vec_pretty(&json!({"apiVersion": "v1", "kind": "List", "items": nodes}))?,
    )?;
    let mut command = Command::new(kubectl);
    command.arg("--kubeconfig").arg(kubeconfig_of(folder, "administrator"));
    output_of(command.args(["create", "--filename"]).arg(&file)).map(|_| ())
}

fn node(index: usize) -> Value {
    let name = format!("node-{index}");
    let resources = json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110"});
    let (label, value) = KUBELET_LABEL;
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "node-role.kubernetes.io/worker": "",
                "topology.kubernetes.io/zone": format!("zone-{}", index % 3),
                label: value,
            },
        },
        "status": {
            "allocatable": resources,
            "capacity": resources,
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "kubeletVersion": format!("v{KUBERNETES_VERSION}"),
                "kubeProxyVersion": "",
                "containerRuntimeVersion": "kwok://simulated",
                "osImage": "simulated",
                "kernelVersion": "",
                "bootID": "", "machineID": "", "systemUUID": "",
            },
        },
    })
}

/// How many nodes a cluster has and how many of them are ready.
pub struct Nodes {
    pub ready: usize,
    pub all: usize,
}

/// Asks the API server for the readiness of the nodes.
pub fn nodes_ready(kubectl: &Path, kubeconfig: &Path) -> Result<Nodes> {
    let query = r#"jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;
    let mut command = Command::new(kubectl);
    command.arg("--kubeconfig").arg(kubeconfig).args(["get", "nodes", "--output", query]);
    let answer = output_of(&mut command)?;
    Ok(Nodes { ready: answer.lines().filter(|line| *line == "True").count(), all: answer.lines().count() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_know_where_the_logs_are() {
        let folder = folders::repository().join("tests/cluster");
        let text = stages(&folder).unwrap();
        assert!(text.contains("name: node-ready") && text.contains("name: pod-start-good"));
        assert!(text.contains(&folder.join("logs").display().to_string()));
        // Comments may speak of the mark.
        let marked = |line: &&str| line.contains(LOG_FOLDER_MARK) && !line.trim_start().starts_with('#');
        assert_eq!(text.lines().find(marked), None);
    }
}
