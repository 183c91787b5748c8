//! What is checked without configuration. A check that cannot be asked is unknown here, never a failure: nobody has
//! said that it must be possible.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use tokio::time::{Instant, sleep};

use super::declared::{DeclaredPath, declared_paths};
use super::proxy::{self, Target};
use super::services::{self, ServiceView};
use super::{
    Answer, DEFAULT_LIMIT, DEFAULT_PAUSE, DEFAULT_TRIES, Request, ended, report, unless_ended, with_tries,
};
use crate::context::Context;
use crate::discover::Workload;
use crate::event::{FindingStatus, Verification};
use crate::wait::readiness;
use crate::words::counted;
use crate::workload::WorkloadKind;

/// How often it is looked whether endpoints have come: they follow the pods within a second or two.
const ENDPOINT_TRIES: u16 = 10;
/// The same where the pods behind a Service are ready: after an outage of the API server the controller that writes its
/// endpoints comes back as late as half a minute after the others, because each watches for itself and waits longer after
/// each failure.
const LATE_ENDPOINT_TRIES: u16 = 40;
/// Objects that are asked for at once.
const PAGE: u32 = 500;

/// Readiness, endpoints, declared paths.
pub async fn run(context: &Context, request: &Request<'_>) -> Vec<Verification> {
    let begin = Instant::now();
    let mut results: Vec<Verification> = request
        .workloads
        .iter()
        .map(|workload| {
            let subject = workload.reference.to_string();
            report(context, "readiness", subject, readiness_of(request, workload), begin)
        })
        .collect();
    results.extend(request.missing.iter().map(|missing| {
        let message = "is not there, although Helm's record names it";
        let answer = if request.is_touched(missing) { Answer::fail(message) } else { Answer::warn(message) };
        report(context, "readiness", missing.to_string(), answer, begin)
    }));
    let services = match unless_ended(context, list_services(context)).await {
        Some(Ok(all)) => services::of_release(all, request.release, request.workloads),
        Some(Err(error)) => {
            let answer = Answer::unknown(format!("the Services cannot be listed: {error}"))
                .hinted("grant list on services");
            results.push(report(context, "endpoints", "Services".to_owned(), answer, begin));
            Vec::new()
        }
        None => {
            results.push(report(context, "endpoints", "Services".to_owned(), ended(1), begin));
            return results;
        }
    };
    let declared = declared_paths(request.workloads, &services);
    let paths = join_all(declared.iter().map(|declared| path(context, declared)));
    let (endpoints, paths) = futures::join!(endpoints(context, request, &services), paths);
    results.extend(endpoints);
    results.extend(paths);
    results
}

fn readiness_of(request: &Request<'_>, workload: &Workload) -> Answer {
    if workload.reference.kind == WorkloadKind::CronJob {
        return Answer::pass(if workload.suspended { "is suspended" } else { "is scheduled" });
    }
    let found = readiness::of(workload.reference.kind.as_str(), &workload.object);
    let number = format!("{} of {} ready", found.ready, found.desired);
    if found.done && found.desired == 0 {
        return Answer::pass("wants no pods");
    }
    if found.done {
        return Answer::pass(number);
    }
    let message = if found.state.is_empty() { number } else { format!("{number}: {}", found.state) };
    let hint = format!(
        "kubectl -n {} describe {}/{}",
        workload.reference.namespace,
        workload.reference.kind.as_str().to_lowercase(),
        workload.reference.name
    );
    if request.is_touched(&workload.reference) {
        Answer::fail(message).hinted(hint)
    } else {
        Answer::warn(format!("{message}; the rollback did not touch it")).hinted(hint)
    }
}

/// Every Service of the namespace.
pub async fn list_services(context: &Context) -> Result<Vec<ServiceView>, kube::Error> {
    let api: Api<Service> = Api::namespaced(context.client.clone(), &context.namespace);
    let all = api.list(&ListParams::default()).await?;
    Ok(all.items.iter().map(ServiceView::read).collect())
}

/// Ready endpoints by Service.
async fn ready_endpoints(context: &Context) -> Result<BTreeMap<String, usize>, kube::Error> {
    let api: Api<EndpointSlice> = Api::namespaced(context.client.clone(), &context.namespace);
    let mut parameters = ListParams::default().limit(PAGE);
    let mut ready: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let page = api.list(&parameters).await?;
        for slice in page.items {
            let labels = slice.metadata.labels.unwrap_or_default();
            let Some(service) = labels.get("kubernetes.io/service-name") else { continue };
            // An endpoint without the condition is to be taken as ready.
            let is_ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
                endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
            };
            *ready.entry(service.clone()).or_default() +=
                slice.endpoints.iter().flatten().filter(is_ready).count();
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(ready),
        }
    }
}

async fn endpoints(context: &Context, request: &Request<'_>, services: &[ServiceView]) -> Vec<Verification> {
    let begin = Instant::now();
    let services: Vec<&ServiceView> = services.iter().filter(|service| !service.external).collect();
    if services.is_empty() {
        return Vec::new();
    }
    let mut tries = 0;
    let answers: Vec<Answer> = loop {
        tries += 1;
        let all = |answer: &Answer| services.iter().map(|_| answer.clone()).collect::<Vec<_>>();
        match unless_ended(context, ready_endpoints(context)).await {
            None => break all(&ended(tries)),
            Some(Err(error)) => {
                let answer = Answer::unknown(format!("the EndpointSlices cannot be listed: {error}"));
                break all(&answer.hinted("grant list on endpointslices.discovery.k8s.io"));
            }
            Some(Ok(ready)) => {
                let answers: Vec<Answer> =
                    services.iter().map(|service| endpoints_of(request, service, &ready)).collect();
                let failed = services.iter().zip(&answers);
                let failed = failed.filter(|(_, answer)| answer.status == FindingStatus::Fail);
                // With nobody failed there is nothing to wait for.
                let most = failed.map(|(service, _)| tries_for(request, service)).max().unwrap_or_default();
                if tries >= most || unless_ended(context, sleep(DEFAULT_PAUSE)).await.is_none() {
                    break answers;
                }
            }
        }
    };
    let results = services.iter().zip(answers);
    results
        .map(|(service, answer)| {
            report(context, "endpoints", format!("Service/{}", service.name), answer, begin)
        })
        .collect()
}

/// What its endpoints say about a Service.
fn endpoints_of(request: &Request<'_>, service: &ServiceView, ready: &BTreeMap<String, usize>) -> Answer {
    let ready = ready.get(&service.name).copied().unwrap_or_default();
    if ready > 0 {
        return Answer::pass(counted(ready, "ready endpoint"));
    }
    let none = "has no ready endpoint";
    if service.selector.is_empty() {
        return Answer::warn(format!("{none}; it selects no pods, somebody else keeps its endpoints"));
    }
    let selected: Vec<&Workload> =
        request.workloads.iter().filter(|workload| service.selects(workload)).collect();
    if selected.is_empty() {
        return Answer::warn(format!("{none}; it selects no workload of the release"));
    }
    let wanting: Vec<&Workload> = selected.into_iter().filter(|workload| wants_pods(workload)).collect();
    if wanting.is_empty() {
        return Answer::pass("nobody is wanted behind it");
    }
    let hint = format!("kubectl get endpointslices -l kubernetes.io/service-name={}", service.name);
    if wanting.iter().any(|workload| request.is_touched(&workload.reference)) {
        Answer::fail(none).hinted(hint)
    } else {
        Answer::warn(format!("{none}; the rollback did not touch what it selects")).hinted(hint)
    }
}

fn wants_pods(workload: &Workload) -> bool {
    workload.reference.kind != WorkloadKind::CronJob
        && readiness::of(workload.reference.kind.as_str(), &workload.object).desired > 0
}

/// How often it is looked whether a Service has got endpoints.
fn tries_for(request: &Request<'_>, service: &ServiceView) -> u16 {
    let is_ready = |workload: &&Workload| {
        service.selects(workload)
            && wants_pods(workload)
            && readiness::of(workload.reference.kind.as_str(), &workload.object).done
    };
    if request.workloads.iter().any(|workload| is_ready(&workload)) {
        LATE_ENDPOINT_TRIES
    } else {
        ENDPOINT_TRIES
    }
}

/// Asks a declared path: through its Service, else its pod.
async fn path(context: &Context, declared: &DeclaredPath) -> Verification {
    let begin = Instant::now();
    let namespace = declared.workload.namespace.clone();
    let target = match (&declared.service, &declared.pod) {
        (Some((service, port)), _) => Some(Target {
            namespace,
            resource: "services",
            name: service.clone(),
            port: port.to_string(),
            tls: declared.tls,
        }),
        (None, Some(pod)) => Some(Target {
            namespace,
            resource: "pods",
            name: pod.clone(),
            port: declared.port.to_string(),
            tls: declared.tls,
        }),
        (None, None) => None,
    };
    let Some(target) = target else {
        let subject = format!("{} {}", declared.workload, declared.path);
        return report(context, "http", subject, Answer::unknown("there is no ready pod to ask"), begin);
    };
    let kind = if target.resource == "services" { "Service" } else { "Pod" };
    let subject = format!("{kind}/{}:{}{}", target.name, target.port, declared.path);
    let address = format!("{}{}", target.base(), declared.path);
    let mut tries = 0;
    let answer = loop {
        tries += 1;
        let ask = proxy::get(context, &address, &declared.headers, DEFAULT_LIMIT);
        let Some(answer) = unless_ended(context, ask).await else { break ended(tries) };
        let (answer, may_change) = judge(answer);
        let is_last = answer.is_good() || !may_change || tries >= DEFAULT_TRIES;
        if is_last || unless_ended(context, sleep(DEFAULT_PAUSE)).await.is_none() {
            break with_tries(answer, tries);
        }
    };
    report(context, "http", subject, answer, begin)
}

/// What an answer to a declared path means, and whether another try may change it.
///
/// The kubelet asks the same path and calls the pods ready. So only an error of the application's own is a failure; what
/// the kubelet would not get (a proxy between, a policy that keeps the API server out, a Service that wants a log-in)
/// is told and blocks nobody.
pub(super) fn judge(answer: proxy::Answer) -> (Answer, bool) {
    let reach = "the API server does not reach it; that says nothing about the application";
    match answer {
        proxy::Answer::Answered(reply) => {
            let status = reply.status;
            let said = format!("answers {status}");
            match status {
                200..=399 => (Answer::pass(said), false),
                500.. if reply.is_from_between() => (
                    Answer::unknown(format!("{said}, by way of a proxy between the API server and it")),
                    true,
                ),
                500.. => {
                    (Answer::fail(said).hinted("look at its logs: its pods call themselves ready"), true)
                }
                _ => (
                    Answer::warn(format!("{said} through the API server, although its pods are ready")),
                    false,
                ),
            }
        }
        proxy::Answer::Undelivered(why) => {
            (Answer::unknown(format!("cannot be asked: {why}")).hinted(reach), true)
        }
        proxy::Answer::Forbidden(why) => {
            (Answer::unknown(why).hinted("grant get on services/proxy and pods/proxy"), false)
        }
        proxy::Answer::Missing(why) => (Answer::unknown(why), true),
        proxy::Answer::Failed(why) => {
            (Answer::unknown(format!("cannot be asked: {why}")).hinted(reach), false)
        }
    }
}
