//! Commands in a container of a pod that runs. What they do is whose business it is who names them; here they are run and
//! heard.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
use kube::api::{Api, AttachParams};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of each stream that are read.
const LONGEST_OUTPUT: u64 = 1024 * 1024;

/// What a command has said.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// How it ended, as the kubelet says it; `None` where the connection ended before.
    pub status: Option<Status>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command in a container, without input and without a terminal.
pub async fn run(
    client: &Client,
    namespace: &str,
    pod: &str,
    container: Option<&str>,
    command: &[String],
) -> Result<Heard, kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut parameters = AttachParams::default().stdin(false).stdout(true).stderr(true);
    if let Some(container) = container {
        parameters = parameters.container(container);
    }
    let mut process = api.exec(pod, command, &parameters).await?;
    let status = process.take_status();
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let (stdout, stderr, status) = futures::join!(read(stdout), read(stderr), async {
        match status {
            Some(status) => status.await,
            None => None,
        }
    });
    process.abort();
    Ok(Heard { status, stdout, stderr })
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read before a broken connection counts; the status says whether the command ended.
        let _ = stream.take(LONGEST_OUTPUT).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The exit code that a status tells; nothing where the command did not run.
pub fn exit_code(status: &Status) -> Option<i32> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    if status.reason.as_deref() != Some("NonZeroExitCode") {
        return None;
    }
    let causes = status.details.as_ref()?.causes.as_ref()?;
    let cause = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    cause.message.as_ref()?.parse().ok()
}
