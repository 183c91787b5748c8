//! The last words of a container, for people: few lines, few bytes, no credentials, and no waiting for them.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, LogParams};
use tokio::time::timeout;

use super::redaction::redact;
use crate::event::{Diagnosis, DiagnosisCode};

/// Lines that are enough to see why something failed.
pub const LINES: i64 = 25;
const LIMIT_BYTES: i64 = 64 * 1024;
/// Bytes of a text for programs.
const LONGEST_TEXT: i64 = 4 * 1024 * 1024;
const LINE_LIMIT: usize = 500;
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the container has written anything that explains the diagnosis, and if so, whether in its previous
/// run.
fn wanted(code: DiagnosisCode) -> Option<bool> {
    match code {
        DiagnosisCode::CrashLoop | DiagnosisCode::OomKilled | DiagnosisCode::InitFailed => Some(true),
        DiagnosisCode::ReadinessStuck => Some(false),
        _ => None,
    }
}

/// The last lines for a diagnosis; none when its code has nothing to do with the application, or when they
/// cannot be had within three seconds.
pub(super) async fn last_words(client: &Client, namespace: &str, diagnosis: &Diagnosis) -> Vec<String> {
    let (Some(is_previous), Some(pod), Some(container)) =
        (wanted(diagnosis.code), &diagnosis.pod, &diagnosis.container)
    else {
        return Vec::new();
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let read = async {
        if is_previous && let Ok(text) = pods.logs(pod, &parameters(container, true)).await {
            return text;
        }
        // A container that is down and not yet started again has no previous run: its present one has ended.
        pods.logs(pod, &parameters(container, false)).await.unwrap_or_default()
    };
    lines(&timeout(PATIENCE, read).await.unwrap_or_default(), LINES)
}

/// Everything that a container has said, as it stands.
pub(super) async fn text(
    client: &Client,
    namespace: &str,
    pod: &str,
    container: &str,
) -> Result<String, kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = LogParams {
        container: Some(container.to_owned()),
        limit_bytes: Some(LONGEST_TEXT),
        ..LogParams::default()
    };
    api.logs(pod, &parameters).await
}

/// What a container has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLog {
    /// Its pod.
    pub pod: String,
    /// Its name.
    pub container: String,
    /// Its last lines, without credentials.
    pub lines: Vec<String>,
}

/// The last lines of every container of the pods that has said something: init containers first, in the pod's order.
/// What cannot be had within three seconds is left out.
pub(super) async fn of_pods(client: &Client, namespace: &str, pods: &[Pod], tail: i64) -> Vec<ContainerLog> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut found = Vec::new();
    for pod in pods {
        let (Some(name), Some(spec)) = (&pod.metadata.name, &pod.spec) else { continue };
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            let parameters = LogParams {
                tail_lines: Some(tail),
                limit_bytes: Some(LIMIT_BYTES.max(tail.saturating_mul(1024))),
                ..parameters(&container.name, false)
            };
            let text = timeout(PATIENCE, api.logs(name, &parameters)).await;
            let lines = lines(&text.ok().and_then(Result::ok).unwrap_or_default(), tail);
            if !lines.is_empty() {
                found.push(ContainerLog { pod: name.clone(), container: container.name.clone(), lines });
            }
        }
    }
    found
}

fn parameters(container: &str, previous: bool) -> LogParams {
    LogParams {
        container: Some(container.to_owned()),
        previous,
        tail_lines: Some(LINES),
        limit_bytes: Some(LIMIT_BYTES),
        ..LogParams::default()
    }
}

fn lines(text: &str, tail: i64) -> Vec<String> {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(usize::try_from(tail).unwrap_or_default())..]
        .iter()
        .map(|line| {
            let clean: String = line
                .chars()
                .filter(|character| !character.is_control() || *character == '\t')
                .take(LINE_LIMIT)
                .collect();
            redact(&clean)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_cut_cleaned_and_redacted() {
        let text: Vec<String> = (0..40).map(|line| format!("line {line}")).collect();
        let found = lines(&text.join("\n"), LINES);
        assert_eq!((found.len(), found[0].as_str()), (25, "line 15"));
        assert_eq!(lines("\u{1b}[31mred\u{1b}[0m\r\n", LINES), ["[31mred[0m"]);
        assert_eq!(
            lines("cannot reach postgres://bob:hunter2@db/x", LINES),
            ["cannot reach postgres://***@db/x"]
        );
        assert_eq!(lines(&"x".repeat(2000), LINES)[0].len(), LINE_LIMIT);
    }
}
