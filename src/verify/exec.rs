//! Commands that the configuration names, in a container of a ready pod. What they do is the configuration's business;
//! that they only read is asked of whoever writes it.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;

use super::http::short;
use super::{Answer, Request};
use crate::config::ExecCheck;
use crate::context::{Context, exec};
use crate::discover::Workload;
use crate::discover::workload::PodSummary;
use crate::words::last_words;

/// Runs the command once.
pub async fn check(context: &Context, request: &Request<'_>, check: &ExecCheck) -> Answer {
    let wanted = &check.workload.0;
    let Some(workload) = request.workloads.iter().find(|workload| wanted.selects(&workload.reference)) else {
        return Answer::fail(format!("{} is none of the workloads that are checked", check.workload));
    };
    let pods = pods_now(context, workload).await;
    let pods: Vec<&PodSummary> = pods.iter().filter(|pod| pod.ready).collect();
    let Some(pod) = pods.iter().find(|pod| workload.is_current(pod)).or(pods.first()) else {
        return Answer::fail(format!("{} has no ready pod to run it in", check.workload));
    };
    let container = check.container.as_deref().or_else(|| {
        let first = workload.containers.iter().find(|container| !container.init)?;
        Some(first.name.as_str())
    });
    let namespace = &workload.reference.namespace;
    let heard = match exec::run(&context.client, namespace, &pod.name, container, &check.command).await {
        Ok(heard) => heard,
        Err(error) => {
            return Answer::fail(format!("cannot be run in pod {}: {error}", pod.name))
                .hinted(format!("kubectl auth can-i create pods/exec -n {namespace}"));
        }
    };
    judge(check, &pod.name, heard.status.as_ref(), &heard.stdout, &heard.stderr)
}

/// The workload's pods at this moment: between two tries some go and others become ready. As they were known where they cannot be
/// listed.
pub(super) async fn pods_now(context: &Context, workload: &Workload) -> Vec<PodSummary> {
    let labels = workload.object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let pairs = labels.into_iter().flatten();
    let pairs: Vec<String> =
        pairs.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    let resource = ApiResource::erase::<Pod>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &workload.reference.namespace, &resource);
    match api.list(&ListParams::default().labels(&pairs.join(","))).await {
        Ok(list) => list.iter().map(PodSummary::read).filter(|pod| workload.owns(pod)).collect(),
        Err(_) => workload.pods.clone(),
    }
}

fn judge(check: &ExecCheck, pod: &str, status: Option<&Status>, stdout: &str, stderr: &str) -> Answer {
    let Some(code) = status.and_then(exec::exit_code) else {
        let why = status.and_then(|status| status.message.clone());
        let why = why.unwrap_or_else(|| "the connection ended before the command".to_owned());
        return Answer::fail(format!("could not be run in pod {pod}: {}", short(cause(&why))));
    };
    if code != check.exit_code {
        let said =
            if stderr.trim().is_empty() { short(last_words(stdout)) } else { short(last_words(stderr)) };
        let expected =
            if check.exit_code == 0 { String::new() } else { format!(" instead of {}", check.exit_code) };
        let said = if said.is_empty() { said } else { format!(": {said}") };
        return Answer::fail(format!("exit code {code}{expected} in pod {pod}{said}"));
    }
    match &check.stdout_contains {
        Some(wanted) if !stdout.contains(wanted.as_str()) => {
            Answer::fail(format!("{wanted:?} is not in its output: {}", short(last_words(stdout))))
        }
        _ => Answer::pass(format!("exit code {code} in pod {pod}")),
    }
}

/// Why a runtime could not start a command, without those who passed that on: kubelet, containerd and runc each put a sentence of
/// their own in front.
fn cause(why: &str) -> &str {
    let cause = why.rsplit_once("unable to start container process: ").map_or(why, |(_, cause)| cause);
    cause.trim_end().trim_end_matches(": unknown")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_line_that_says_what_happened_is_shown() {
        let refused = "connection to server at \"db\" (10.0.0.1), port 5432 failed: Connection refused";
        let chained = format!(
            "Traceback (most recent call last):\n  File \"pool.py\", line 1, in connect\n    ^^^^\n\
             psycopg2.OperationalError: {refused}\n\tIs the server running?\n\n\n\
             The above exception was the direct cause of the following exception:\n\n\
             Traceback (most recent call last):\n  File \"<string>\", line 1, in <module>\n\
             sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) {refused}\n\tIs the server running?\n\n\
             (Background on this error at: https://sqlalche.me/e/14/e3q8)\n"
        );
        let chained_expected =
            format!("sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) {refused}");
        let psql = format!("psql: error: {refused}\n\tIs the server running on that host?\n");
        for (text, expected) in [
            (chained.as_str(), chained_expected.as_str()),
            (psql.as_str(), &format!("psql: error: {refused}")),
            ("one\ntwo\n", "two"),
            ("  indented\n", "indented"),
            ("Traceback (most recent call last):\n", "Traceback (most recent call last):"),
            ("", ""),
        ] {
            assert_eq!(last_words(text), expected, "{text}");
        }
    }

    #[test]
    fn the_exit_code_and_the_output_decide() {
        let status = |value| serde_json::from_value::<Status>(value).unwrap();
        let success = status(json!({"status": "Success"}));
        let one = status(
            json!({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": "1"}]}}),
        );
        let broken =
            status(json!({"status": "Failure", "reason": "InternalError", "message": "no such executable"}));
        let runtime = status(
            json!({"status": "Failure", "reason": "InternalError", "message": "Internal error occurred: Internal error occurred: error executing command in container: failed to exec in container: failed to start exec \"0d4b\": OCI runtime exec failed: exec failed: unable to start container process: exec: \"sh\": executable file not found in $PATH: unknown"}),
        );
        let check = |yaml: &str| serde_saphyr::from_str::<ExecCheck>(yaml).unwrap();
        let plain = check("{workload: deploy/a, command: [x]}");
        let ones = check("{workload: deploy/a, command: [x], exitCode: 1}");
        let words = check("{workload: deploy/a, command: [x], stdoutContains: 'True'}");
        for (check, status, stdout, stderr, expected) in [
            (&plain, Some(&success), "", "", "exit code 0 in pod p"),
            (
                &plain,
                Some(&one),
                "",
                "Traceback\nOperationalError: password=hunter2\n",
                "exit code 1 in pod p: OperationalError: password=***",
            ),
            (&plain, Some(&broken), "", "", "could not be run in pod p: no such executable"),
            (
                &plain,
                Some(&runtime),
                "",
                "",
                "could not be run in pod p: exec: \"sh\": executable file not found in $PATH",
            ),
            (&plain, None, "", "", "could not be run in pod p: the connection ended before the command"),
            (&ones, Some(&one), "", "", "exit code 1 in pod p"),
            (&ones, Some(&success), "", "", "exit code 0 instead of 1 in pod p"),
            (&words, Some(&success), "True\n", "", "exit code 0 in pod p"),
            (&words, Some(&success), "False\n", "", "\"True\" is not in its output: False"),
        ] {
            let answer = judge(check, "p", status, stdout, stderr);
            assert_eq!(answer.message, expected);
            let is_good = expected.ends_with("in pod p") && !expected.contains("instead");
            assert_eq!(answer.is_good(), is_good, "{answer:?}");
        }
    }
}
