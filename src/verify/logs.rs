//! Error lines in the logs since the rollback.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};

use super::http::short;
use super::{Answer, Request};
use crate::config::{LogsCheck, Pattern};
use crate::context::Context;
use crate::discover::Workload;
use crate::words::counted;

/// Bytes that are read of one container.
const LIMIT_BYTES: i64 = 1024 * 1024;
/// Pods of one workload that are read.
const MOST_PODS: usize = 3;
/// What an error line looks like where nothing is said.
const USUAL: &str = r"(?i)\b(error|fatal|panic|exception|traceback)\b";

/// Reads the logs of the workloads' pods and counts error lines.
pub async fn check(context: &Context, request: &Request<'_>, check: &LogsCheck) -> Answer {
    let is_named = |workload: &Workload| {
        check.workloads.is_empty()
            || check.workloads.iter().any(|wanted| wanted.0.selects(&workload.reference))
    };
    let workloads: Vec<&Workload> = request.workloads.iter().filter(|workload| is_named(workload)).collect();
    if let Some(missing) = check
        .workloads
        .iter()
        .find(|wanted| !workloads.iter().any(|found| wanted.0.selects(&found.reference)))
    {
        return Answer::fail(format!("{missing} is none of the workloads that are checked"));
    }
    let usual: Vec<Pattern> = USUAL.parse().into_iter().collect();
    let patterns = if check.patterns.is_empty() { &usual } else { &check.patterns };
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &context.namespace);
    let (mut lines, mut found, mut first) = (0, 0, None);
    for workload in workloads {
        for pod in workload.pods.iter().filter(|pod| !pod.terminating).take(MOST_PODS) {
            for container in workload.containers.iter().filter(|container| !container.init) {
                let parameters = LogParams {
                    container: Some(container.name.clone()),
                    since_time: request.since,
                    limit_bytes: Some(LIMIT_BYTES),
                    ..LogParams::default()
                };
                let text = match api.logs(&pod.name, &parameters).await {
                    Ok(text) => text,
                    Err(error) => {
                        return Answer::fail(format!("the logs of pod {} cannot be read: {error}", pod.name))
                            .hinted(format!("kubectl auth can-i get pods/log -n {}", context.namespace));
                    }
                };
                lines += text.lines().count();
                for line in text.lines().filter(|line| is_error(line, patterns, &check.ignore)) {
                    found += 1;
                    first.get_or_insert_with(|| format!("{}: {}", pod.name, short(line)));
                }
            }
        }
    }
    let said = format!("{} among {}", counted(found, "error line"), counted(lines, "line"));
    match first {
        Some(first) if found > check.max => Answer::fail(format!("{said}; the first: {first}")),
        _ => Answer::pass(said),
    }
}

fn is_error(line: &str, patterns: &[Pattern], ignore: &[Pattern]) -> bool {
    patterns.iter().any(|pattern| pattern.is_in(line)) && !ignore.iter().any(|pattern| pattern.is_in(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_lines_are_words_and_can_be_excused() {
        let usual = vec![USUAL.parse().unwrap()];
        let ignore = vec!["(?i)deprecat".parse().unwrap()];
        for (line, expected) in [
            ("ERROR cannot connect", true),
            ("Traceback (most recent call last):", true),
            ("{\"level\":\"error\"}", true),
            ("0 errors found", false),
            ("GET /errorpages 200", false),
            ("error: deprecated option", false),
        ] {
            assert_eq!(is_error(line, &usual, &ignore), expected, "{line}");
        }
    }
}
