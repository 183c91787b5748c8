//! The real node: containerd, kubelet and kube-proxy, and how they are configured.
//!
//! The settings that look odd let a node run inside a container itself: control groups of version 1,
//! no right to raise limits (`restrict_oom_score_adj`, `KubeletInUserNamespace`, connection tracking).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::images::{PAUSE_IMAGE, REGISTRY_ADDRESS};
use super::{isolation, names};
use crate::cluster::certificates::{Authority, Purpose};
use crate::cluster::components::{Component, Network, POD_RANGE, kubeconfig_of};
use crate::process::output_of;

const NODE: &str = "node-0";

/// How many volumes there are for claims; nobody makes more.
const VOLUMES: usize = 10;

/// The container runtime, and the socket on which it will answer.
pub fn containerd(folder: &Path) -> Result<(Component, PathBuf)> {
    let plugins = write_network_configuration(folder)?;
    let mirrors = folder.join("mirrors");
    fs::create_dir_all(mirrors.join("_default"))?;
    // For every registry of the world: an image that this one lacks does not exist.
    let mirror = format!(
        "server = \"http://{REGISTRY_ADDRESS}\"\n\n[host.\"http://{REGISTRY_ADDRESS}\"]\n\
         capabilities = [\"pull\", \"resolve\"]\n"
    );
    fs::write(mirrors.join("_default/hosts.toml"), mirror)?;

    let socket = folder.join("containerd.sock");
    let configuration = format!(
        r#"version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
oom_score = 0

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/containerd-opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{mirrors}"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{plugins}"
"#,
        folder = folder.display(),
        socket = socket.display(),
        mirrors = mirrors.display(),
        plugins = plugins.display(),
    );
    let file = folder.join("containerd.toml");
    fs::write(&file, configuration)?;
    let component = Component {
        name: "containerd",
        program: PathBuf::from("/usr/bin/containerd"),
        arguments: vec![format!("--config={}", file.display())],
    };
    Ok((component, socket))
}

/// One bridge for all pods, and ports of the node that lead to pods.
fn write_network_configuration(folder: &Path) -> Result<PathBuf> {
    let plugins = folder.join("network-plugins");
    fs::create_dir_all(&plugins)?;
    let configuration = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": "10.244.0.0/24"}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": folder.join("network-addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    write_json(&plugins.join("pods.conflist"), &configuration)?;
    Ok(plugins)
}

/// The kubelet, with nothing evicted: the machine's disk may be nearly full.
pub fn kubelet(
    binary: &Path,
    folder: &Path,
    network: &Network,
    authority: &Authority,
    socket: &Path,
) -> Result<Component> {
    let common_name = format!("system:node:{NODE}");
    authority.issue("node", &common_name, &Purpose::Client { group: Some("system:nodes") })?;
    let kubeconfig = kubeconfig_of(folder, "node");
    authority.write_kubeconfig("node", &network.api_server(), &kubeconfig)?;
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.kubelet_address,
        "port": network.kubelet_port,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": authority.certificate("authority")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": authority.certificate("kubelet-server"),
        "tlsPrivateKeyFile": authority.key("kubelet-server"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", isolation::control_group(folder)),
        "failCgroupV1": false,
        "failSwapOn": false,
        "featureGates": {"KubeletInUserNamespace": true},
        "oomScoreAdj": 0,
        "protectKernelDefaults": false,
        "containerRuntimeEndpoint": format!("unix://{}", socket.display()),
        "podLogsDir": folder.join("pod-logs"),
        "volumePluginDir": folder.join("volume-plugins"),
        "resolvConf": "",
        "clusterDNS": [isolation::NODE_ADDRESS],
        "clusterDomain": names::DOMAIN,
        "registerNode": true,
        "serializeImagePulls": false,
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
            "imagefs.available": "0%", "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    });
    let file = folder.join("kubelet.json");
    write_json(&file, &configuration)?;
    let arguments = vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--config={}", file.display()),
        format!("--root-dir={}", folder.join("kubelet").display()),
        format!("--cert-dir={}", folder.join("kubelet-certificates").display()),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={}", network.kubelet_address),
    ];
    Ok(Component::of(binary, "kubelet", arguments))
}

/// The proxy that makes Services work on the node.
pub fn proxy(binary: &Path, folder: &Path, network: &Network, authority: &Authority) -> Result<Component> {
    authority.issue("proxy", "system:kube-proxy", &Purpose::Client { group: None })?;
    let kubeconfig = kubeconfig_of(folder, "proxy");
    authority.write_kubeconfig("proxy", &network.api_server(), &kubeconfig)?;
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE,
        "mode": "iptables",
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    });
    let file = folder.join("kube-proxy.json");
    write_json(&file, &configuration)?;
    Ok(Component::of(binary, "kube-proxy", vec![format!("--config={}", file.display())]))
}

/// Volumes for claims of the class `sim`, which in mode `sim` a simulated provisioner serves.
pub fn create_volumes(kubectl: &Path, folder: &Path) -> Result<()> {
    let volume = |index: usize| {
        json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": format!("volume-{index}")},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "10Gi"},
                "hostPath": {
                    "path": folder.join(format!("volumes/{index}")),
                    "type": "DirectoryOrCreate",
                },
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "sim",
            },
        })
    };
    let items: Vec<Value> = (0..VOLUMES).map(volume).collect();
    let file = folder.join("volumes.json");
    write_json(&file, &json!({"apiVersion": "v1", "kind": "List", "items": items}))?;
    let mut command = Command::new(kubectl);
    command.arg("--kubeconfig").arg(kubeconfig_of(folder, "administrator"));
    output_of(command.args(["create", "--filename"]).arg(&file)).map(|_| ())
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    Ok(fs::write(path, serde_json::to_vec_pretty(value)?)?)
}
