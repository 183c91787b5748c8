//! The control plane: which processes it has and with which arguments they run.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::certificates::{Authority, Purpose};
use super::state;

/// The range of the Services' addresses; the first one is the API server's own.
const SERVICE_RANGE: &str = "10.96.0.0/16";
const API_SERVICE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));

/// The range of the pods' addresses.
pub const POD_RANGE: &str = "10.244.0.0/16";

/// One process of the cluster as it is to be started.
#[derive(Clone)]
pub struct Component {
    pub name: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

impl Component {
    /// A component that is part of the binary with all components in it.
    pub fn of(binary: &Path, name: &'static str, arguments: Vec<String>) -> Self {
        let arguments = std::iter::once(name.to_owned()).chain(arguments).collect();
        Self { name, program: binary.to_path_buf(), arguments }
    }
}

/// Where the control plane listens.
pub struct Network {
    /// The interface of the API server.
    pub bind: IpAddr,
    /// Where pods find the API server.
    pub advertise: IpAddr,
    pub api_port: u16,
    pub etcd_port: u16,
    pub etcd_peer_port: u16,
    /// Where kubelets answer the API server (logs, exec).
    pub kubelet_address: IpAddr,
    pub kubelet_port: u16,
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Network {
    /// Everything on loopback, on ports that are free now.
    pub fn loopback() -> Result<Self> {
        // All are held until the last one is known, so that no port is given out twice.
        let listeners = (0..4).map(|_| TcpListener::bind((LOOPBACK, 0))).collect::<Result<Vec<_>, _>>()?;
        let ports =
            listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            bind: LOOPBACK,
            advertise: LOOPBACK,
            api_port: ports[0],
            etcd_port: ports[1],
            etcd_peer_port: ports[2],
            kubelet_address: LOOPBACK,
            kubelet_port: ports[3],
        })
    }

    /// In a network namespace of its own, where all ports are free; only the API server's is chosen, as
    /// it is the same outside.
    #[cfg(target_os = "linux")]
    pub fn isolated(api_port: u16) -> Self {
        let node = IpAddr::V4(super::full::isolation::NODE_ADDRESS);
        Self {
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            advertise: node,
            api_port,
            etcd_port: 2379,
            etcd_peer_port: 2380,
            kubelet_address: node,
            kubelet_port: 10250,
        }
    }

    /// The URL of the API server; the components run where its clients do or behind a relay.
    pub fn api_server(&self) -> String {
        format!("https://{LOOPBACK}:{}", self.api_port)
    }
}

/// The client identities of the control plane and the file names of their kubeconfigs.
const CLIENTS: [(&str, &str, Option<&str>); 3] = [
    ("administrator", "kubernetes-admin", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
];

/// Issues every certificate of the control plane and writes its kubeconfigs into `folder`.
pub fn prepare(folder: &Path, network: &Network) -> Result<Authority> {
    let authority = Authority::create(&folder.join("certificates"))?;
    let service_names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    authority.issue(
        "api-server",
        "kube-apiserver",
        &Purpose::Server {
            addresses: &[LOOPBACK, network.advertise, API_SERVICE_ADDRESS],
            names: &service_names,
        },
    )?;
    authority.issue(
        "kubelet-server",
        "kubelet",
        &Purpose::Server { addresses: &[LOOPBACK, network.kubelet_address], names: &["localhost"] },
    )?;
    let administrators = Purpose::Client { group: Some("system:masters") };
    authority.issue("kubelet-client", "kube-apiserver-kubelet-client", &administrators)?;
    for (name, common_name, group) in CLIENTS {
        authority.issue(name, common_name, &Purpose::Client { group })?;
        authority.write_kubeconfig(name, &network.api_server(), &kubeconfig_of(folder, name))?;
    }
    std::fs::copy(kubeconfig_of(folder, "administrator"), state::kubeconfig(folder))?;
    Ok(authority)
}

/// The kubeconfig of a component.
pub fn kubeconfig_of(folder: &Path, name: &str) -> PathBuf {
    folder.join("certificates").join(format!("{name}.kubeconfig"))
}

/// The storage of the API server: one member, nothing kept.
pub fn etcd(binary: &Path, folder: &Path, network: &Network) -> Component {
    let url = |port: u16| format!("http://{LOOPBACK}:{port}");
    let data = folder.join("etcd").display().to_string();
    Component::of(binary, "etcd", vec![data, url(network.etcd_port), url(network.etcd_peer_port)])
}

/// The API server, with the admission plugins that are on by default (`PodSecurity`, `ResourceQuota`, …).
pub fn api_server(binary: &Path, network: &Network, authority: &Authority) -> Component {
    let certificate = |name: &str| authority.certificate(name).display().to_string();
    let key = |name: &str| authority.key(name).display().to_string();
    let arguments = vec![
        format!("--etcd-servers=http://{LOOPBACK}:{}", network.etcd_port),
        format!("--bind-address={}", network.bind),
        format!("--advertise-address={}", network.advertise),
        format!("--secure-port={}", network.api_port),
        format!("--tls-cert-file={}", certificate("api-server")),
        format!("--tls-private-key-file={}", key("api-server")),
        format!("--client-ca-file={}", certificate("authority")),
        format!("--service-account-key-file={}", authority.public_key("service-accounts").display()),
        format!("--service-account-signing-key-file={}", key("service-accounts")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--kubelet-client-certificate={}", certificate("kubelet-client")),
        format!("--kubelet-client-key={}", key("kubelet-client")),
        format!("--kubelet-certificate-authority={}", certificate("authority")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        // Endpoints may not be on loopback, and nothing in a simulated pod calls the API server.
        format!(
            "--endpoint-reconciler-type={}",
            if network.advertise.is_loopback() { "none" } else { "lease" }
        ),
        "--allow-privileged=true".to_owned(),
        "--profiling=false".to_owned(),
    ];
    Component::of(binary, "kube-apiserver", arguments)
}

/// The controllers, quick enough for releases of a thousand pods.
pub fn controller_manager(binary: &Path, folder: &Path, authority: &Authority) -> Component {
    let mut arguments = client_arguments(folder, "controller-manager");
    arguments.extend([
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={}", authority.key("service-accounts").display()),
        format!("--root-ca-file={}", authority.certificate("authority").display()),
        format!("--cluster-signing-cert-file={}", authority.certificate("authority").display()),
        format!("--cluster-signing-key-file={}", authority.key("authority").display()),
        "--allocate-node-cidrs=true".to_owned(),
        format!("--cluster-cidr={POD_RANGE}"),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
    ]);
    Component::of(binary, "kube-controller-manager", arguments)
}

/// The scheduler.
pub fn scheduler(binary: &Path, folder: &Path) -> Component {
    Component::of(binary, "kube-scheduler", client_arguments(folder, "scheduler"))
}

/// What controllers and scheduler have in common. They serve nothing: nobody asks them for metrics,
/// and a port that is not opened is free for another cluster.
fn client_arguments(folder: &Path, name: &str) -> Vec<String> {
    let kubeconfig = kubeconfig_of(folder, name).display().to_string();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--secure-port=0".to_owned(),
        "--leader-elect=false".to_owned(),
        "--kube-api-qps=200".to_owned(),
        "--kube-api-burst=400".to_owned(),
        "--profiling=false".to_owned(),
    ]
}
