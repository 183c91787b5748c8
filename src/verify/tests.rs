use ::http::Method;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::proxy::{Answer as Delivered, Reply, classify};
use super::*;
use crate::config;
use crate::context::tests::{context, exchange};
use crate::workload::WorkloadKind;

fn status(code: u16, reason: &str, message: &str, kind: &str) -> String {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "details": {"kind": kind}, "code": code}).to_string()
}

fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
    let mut reply = Reply { status, body: body.as_bytes().to_vec(), ..Reply::default() };
    for (name, value) in headers {
        reply.headers.insert(*name, value.parse().unwrap());
    }
    reply
}

#[test]
fn the_api_servers_answers_are_told_from_the_applications() {
    let unreachable = "error trying to reach service: dial tcp 10.1.2.3:80: connect: connection refused";
    let old = "Error: 'dial tcp 10.1.2.3:80: i/o timeout'\nTrying to reach: 'http://10.1.2.3:80/health'";
    let cases: Vec<(Reply, &str, FindingStatus)> = vec![
        (reply(200, &[], "ok"), "answered", FindingStatus::Pass),
        (reply(302, &[("location", "https://x")], ""), "answered", FindingStatus::Pass),
        // The application's own.
        (reply(503, &[], "database is down"), "answered", FindingStatus::Fail),
        (reply(503, &[], r#"{"status":"unhealthy"}"#), "answered", FindingStatus::Fail),
        (reply(500, &[], ""), "answered", FindingStatus::Fail),
        (reply(404, &[], "no such page"), "answered", FindingStatus::Warn),
        (reply(401, &[], "log in"), "answered", FindingStatus::Warn),
        // A proxy between the API server and the pods.
        (reply(403, &[], "denied destination"), "answered", FindingStatus::Warn),
        (reply(503, &[("via", "1.1 squid")], "<html>"), "answered", FindingStatus::Unknown),
        (reply(502, &[("x-squid-error", "ERR_CONNECT_FAIL 110")], ""), "answered", FindingStatus::Unknown),
        // The API server's own.
        (
            reply(503, &[], &status(503, "ServiceUnavailable", unreachable, "")),
            "undelivered",
            FindingStatus::Unknown,
        ),
        (reply(502, &[], unreachable), "undelivered", FindingStatus::Unknown),
        (reply(503, &[], old), "undelivered", FindingStatus::Unknown),
        (
            reply(
                503,
                &[],
                &status(503, "ServiceUnavailable", "no endpoints available for service \"web\"", ""),
            ),
            "undelivered",
            FindingStatus::Unknown,
        ),
        (
            reply(403, &[], &status(403, "Forbidden", "cannot get resource \"services/proxy\"", "services")),
            "forbidden",
            FindingStatus::Unknown,
        ),
        (
            reply(404, &[], &status(404, "NotFound", "services \"web\" not found", "services")),
            "missing",
            FindingStatus::Unknown,
        ),
        // An application that speaks like an API server about something of its own.
        (
            reply(404, &[], &status(404, "NotFound", "no such basket", "baskets")),
            "answered",
            FindingStatus::Warn,
        ),
    ];
    for (reply, expected, meaning) in cases {
        let shown = format!("{reply:?}");
        let answer = classify(reply);
        let found = match &answer {
            Delivered::Answered(_) => "answered",
            Delivered::Undelivered(_) => "undelivered",
            Delivered::Forbidden(_) => "forbidden",
            Delivered::Missing(_) => "missing",
            Delivered::Failed(_) => "failed",
        };
        assert_eq!(found, expected, "{shown}");
        assert_eq!(defaults::judge(answer).0.status, meaning, "{shown}");
    }
    let Delivered::Undelivered(why) = classify(reply(503, &[], old)) else { panic!("undelivered") };
    assert_eq!(why, "dial tcp 10.1.2.3:80: i/o timeout");
}

fn deployment(name: &str, container: &Value) -> Workload {
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "n", "uid": name, "generation": 1},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1},
    }))
    .unwrap();
    Workload::read(WorkloadKind::Deployment, &object)
}

fn web(probe: &Value) -> Workload {
    deployment(
        "web",
        &json!({"name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": 8000}, {"name": "admin", "containerPort": 9000}], "readinessProbe": {"httpGet": probe}}),
    )
}

fn service_object(name: &str, app: &str, port: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"selector": {"app": app}, "ports": [port]}})
}

fn service(name: &str, app: &str, port: &Value) -> ServiceView {
    ServiceView::read(&serde_json::from_value(service_object(name, app, port)).unwrap())
}

#[test]
fn declared_paths_are_asked_through_the_service_that_leads_there() {
    let services = [
        service("other", "other", &json!({"port": 80, "targetPort": "http"})),
        service("admin", "web", &json!({"port": 90, "targetPort": "admin"})),
        service("web", "web", &json!({"name": "w", "port": 80, "targetPort": "http"})),
        service("plain", "web", &json!({"port": 8000})),
    ];
    for (probe, expected) in [
        (json!({"path": "/health", "port": "http"}), Some((Some("web"), 8000, "/health"))),
        (json!({"path": "health", "port": 8000}), Some((Some("web"), 8000, "/health"))),
        (json!({"port": 9000}), Some((Some("admin"), 9000, "/"))),
        (json!({"path": "/x", "port": 7000}), Some((None, 7000, "/x"))),
        (json!({"path": "/x", "port": "gone"}), None),
        (json!({"path": "/x", "port": 8000, "host": "example.com"}), None),
    ] {
        let found = declared_paths(&[web(&probe)], &services);
        let found = found.first().map(|path| {
            (path.service.as_ref().map(|(name, _)| name.as_str()), path.port, path.path.as_str())
        });
        assert_eq!(found, expected, "{probe}");
    }
    let mut stopped = web(&json!({"port": 8000}));
    stopped.object["spec"]["replicas"] = json!(0);
    assert_eq!(declared_paths(&[stopped], &services), []);
    let services = services_of(services.to_vec(), None, &[web(&json!({"port": 8000}))]);
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["admin", "web", "plain"]);
}

fn slices(service: &str, ready: bool) -> Value {
    json!({"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": {}, "items": [
        {"metadata": {"name": "x", "labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]},
    ]})
}

fn services_answer() -> Value {
    json!({"kind": "ServiceList", "apiVersion": "v1", "metadata": {}, "items": [service_object("web", "web", &json!({"port": 80, "targetPort": "http"}))]})
}

async fn results(
    workloads: &[Workload],
    touched: Option<&BTreeSet<WorkloadRef>>,
    config: &str,
    exchanges: Vec<crate::context::tests::Exchange>,
) -> Vec<(String, FindingStatus, String)> {
    let (context, script, _interrupter) = context(exchanges);
    let config = config::parse("x", config).unwrap();
    let request = Request {
        release: None,
        workloads,
        missing: &[],
        touched,
        since: None,
        config: &config.verify,
        database: None,
    };
    let results = run(&context, &request).await;
    assert_eq!(script.left(), 0, "{results:?}");
    results
        .into_iter()
        .map(|result| (format!("{} {}", result.check, result.subject), result.status, result.message))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_waited_for_and_then_missed() {
    use FindingStatus::{Fail, Pass, Warn};
    let workload = deployment("web", &json!({"name": "web", "image": "web:1"}));
    let list = |ready| exchange(Method::GET, "/endpointslices", 200, slices("web", ready));
    let services = || exchange(Method::GET, "/services", 200, services_answer());
    let late = vec![services(), list(false), list(false), list(true)];
    let found = results(std::slice::from_ref(&workload), None, "", late).await;
    assert_eq!(found[1], ("endpoints Service/web".into(), Pass, "1 ready endpoint".into()));

    // As long as a controller may need after an outage, where the pods are ready; else they are what is waited for.
    let never = |tries| std::iter::once(services()).chain((0..tries).map(|_| list(false))).collect();
    let found = results(std::slice::from_ref(&workload), None, "", never(40)).await;
    assert_eq!(found[1].1, Fail, "{found:?}");
    let mut unready = workload.clone();
    unready.object["status"]["availableReplicas"] = json!(0);
    let found = results(&[unready], None, "", never(10)).await;
    assert_eq!((found[0].1, found[1].1), (Fail, Fail), "{found:?}");

    // What the rollback did not touch is no failure of it.
    let others = BTreeSet::new();
    let found =
        results(std::slice::from_ref(&workload), Some(&others), "", vec![services(), list(false)]).await;
    assert_eq!(found[1].1, Warn, "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_asked_is_unknown_by_default_and_a_failure_where_it_is_configured() {
    use FindingStatus::{Fail, Pass, Unknown};
    let forbidden =
        || serde_json::from_str(&status(403, "Forbidden", "cannot get services/proxy", "services")).unwrap();
    let path = "/api/v1/namespaces/n/services/http:web:80/proxy/health";
    let workload = web(&json!({"path": "/health", "port": "http"}));
    let exchanges = vec![
        exchange(Method::GET, "/services", 200, services_answer()),
        exchange(Method::GET, "/endpointslices", 200, slices("web", true)),
        exchange(Method::GET, path, 403, forbidden()),
    ];
    let found = results(std::slice::from_ref(&workload), None, "", exchanges).await;
    let statuses: Vec<FindingStatus> = found.iter().map(|found| found.1).collect();
    assert_eq!(statuses, [Pass, Pass, Unknown], "{found:?}");

    let named = "verify: {defaults: false, checks: [{name: health, retries: 0, http: {service: web, port: 80, path: /health}}]}";
    let exchanges = vec![exchange(Method::GET, path, 403, forbidden())];
    let found = results(&[], None, named, exchanges).await;
    assert_eq!(found, [("http health".into(), Fail, "cannot get services/proxy".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_configured_check_is_tried_until_it_is_good() {
    let config = "verify: {defaults: false, checks: [{name: health, retries: 2, http: {service: web, port: http, path: /health, json: {/status: healthy}}}]}";
    let path = "/services/http:web:http/proxy/health";
    let answer = |status: u16, word: &str| exchange(Method::GET, path, status, json!({"status": word}));
    let found =
        results(&[], None, config, vec![answer(503, "x"), answer(200, "starting"), answer(200, "healthy")])
            .await;
    assert_eq!(found[0].1, FindingStatus::Pass, "{found:?}");
    let found =
        results(&[], None, config, vec![answer(503, "x"), answer(503, "x"), answer(200, "starting")]).await;
    assert_eq!(found[0].2, "/status is \"starting\" instead of \"healthy\" (3 tries)");
}

#[tokio::test]
async fn readiness_names_what_is_wrong() {
    let mut broken = deployment("web", &json!({"name": "web", "image": "web:1"}));
    broken.object["status"]["readyReplicas"] = json!(0);
    broken.object["status"]["availableReplicas"] = json!(0);
    let none = json!({"kind": "ServiceList", "apiVersion": "v1", "metadata": {}, "items": []});
    let list = || vec![exchange(Method::GET, "/services", 200, none.clone())];
    let found = results(std::slice::from_ref(&broken), None, "", list()).await;
    assert_eq!((found.len(), found[0].1), (1, FindingStatus::Fail), "{found:?}");
    let touched = BTreeSet::from([broken.reference.clone()]);
    let found = results(std::slice::from_ref(&broken), Some(&touched), "", list()).await;
    assert_eq!(found[0].1, FindingStatus::Fail, "{found:?}");
    let found = results(std::slice::from_ref(&broken), Some(&BTreeSet::new()), "", list()).await;
    assert_eq!(found[0].1, FindingStatus::Warn, "{found:?}");
}
