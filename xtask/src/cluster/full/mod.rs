//! Mode `full`: the control plane and one real node, in namespaces of their own without a way out.
//!
//! The supervisor is started in a private network and mount namespace; whatever it starts is in them
//! too. The API server is relayed to loopback, nothing else can be reached from outside or reach out.

pub mod debian;
pub mod images;
pub mod isolation;
mod names;
mod node;
pub mod packages;
pub mod services;

use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::components::{self, Network};
use super::state;
use super::supervisor::Supervisor;
use crate::process::wait_until;

/// Starts everything and waits until pods can run.
pub fn start(supervisor: &mut Supervisor) -> Result<()> {
    let folder = supervisor.folder().to_path_buf();
    let listener = isolation::enter(&folder)?;
    let network = Network::isolated(listener.local_addr()?.port());
    isolation::relay(listener, network.api_port);

    let authority = components::prepare(&folder, &network)?;
    let binary = supervisor.tools().components.clone();
    supervisor.launch(components::etcd(&binary, &folder, &network))?;
    supervisor.launch(components::api_server(&binary, &network, &authority))?;

    images::write_all(&folder)?;
    services::write_if_built(&folder)?;
    supervisor.launch(images::registry(&folder)?)?;
    let (containerd, socket) = node::containerd(&folder)?;
    supervisor.launch(containerd)?;

    supervisor.wait_for_api_server()?;
    supervisor.launch(components::controller_manager(&binary, &folder, &authority))?;
    supervisor.launch(components::scheduler(&binary, &folder))?;
    let connected = || UnixStream::connect(&socket).is_ok();
    ensure!(wait_until(Duration::from_secs(30), connected), "containerd does not answer");
    supervisor.launch(node::kubelet(&binary, &folder, &network, &authority, &socket)?)?;
    supervisor.launch(node::proxy(&binary, &folder, &network, &authority)?)?;
    names::serve(supervisor.tools().kubectl(), state::kubeconfig(&folder))?;
    supervisor.wait_for_nodes()?;
    supervisor.wait_for_service_account()?;
    node::create_volumes(&supervisor.tools().kubectl(), &folder)
}
