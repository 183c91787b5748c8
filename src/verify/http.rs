//! Answers over HTTP that the configuration describes.

use std::time::Duration;

use http::header::LOCATION;
use serde_json::Value;

use super::Answer;
use super::proxy::{self, Reply, Target};
use super::services::ServiceView;
use crate::config::{HttpCheck, Place};
use crate::context::Context;
use crate::web;

/// Redirects that are followed, within one Service or address.
const MOST_REDIRECTS: usize = 5;
/// Characters of a text that are shown.
const SHOWN: usize = 200;

/// Asks, and compares.
pub async fn check(context: &Context, check: &HttpCheck, limit: Duration) -> Answer {
    let headers: Vec<(String, String)> =
        check.request_headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let wants_redirect = check.status.iter().any(|status| (300..400).contains(status));
    let path = check.path.as_deref().unwrap_or("/");
    match ask(context, &check.place(), path, &headers, !wants_redirect, limit).await {
        Ok(reply) => match judge(&reply, check) {
            Ok(()) => Answer::pass(format!("answers {}", reply.status)),
            Err(why) => Answer::fail(why),
        },
        Err(answer) => answer,
    }
}

/// Asks for a path of a place; redirects are followed only within it.
pub(super) async fn ask(
    context: &Context,
    place: &Place,
    path: &str,
    headers: &[(String, String)],
    follow: bool,
    limit: Duration,
) -> Result<Reply, Answer> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let Some(address) = &place.url else {
        let target = target(context, place).await?;
        return through_the_api_server(context, &target, &path, headers, follow, limit).await;
    };
    let mut url = address.url().clone();
    let client = web::client(&url).map_err(Answer::fail)?;
    for _ in 0..=MOST_REDIRECTS {
        let mut request = client.get(url.clone()).timeout(limit);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.map_err(|error| Answer::fail(web::problem(error)))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let next = headers.get(LOCATION).and_then(|next| next.to_str().ok());
        let Some(next) = next.filter(|_| follow && answer.status().is_redirection()) else {
            let body = web::body(answer).await.map_err(Answer::fail)?;
            return Ok(Reply { status, headers, body });
        };
        let next = url.join(next).map_err(|_| Answer::fail("redirects to what is no address"))?;
        if next.origin() != url.origin() {
            return Err(elsewhere(next.host_str().unwrap_or_default()));
        }
        url = next;
    }
    Err(Answer::fail(format!("redirects more than {MOST_REDIRECTS} times")))
}

fn elsewhere(whither: &str) -> Answer {
    Answer::fail(format!("redirects elsewhere, which is not followed: {}", short(whither)))
        .hinted("where that is as it should be, expect it with status: [302]")
}

async fn target(context: &Context, place: &Place) -> Result<Target, Answer> {
    let service = place.service.as_ref().ok_or_else(|| Answer::fail("there is nothing to ask"))?;
    let namespace = place.namespace.as_ref().map_or_else(|| context.namespace.clone(), ToString::to_string);
    let port = if let Some(port) = &place.port {
        port.to_string()
    } else {
        let view = find_service(context, &namespace, service).await?;
        let port = view.port(None).ok_or_else(|| Answer::fail(format!("Service {service} has no port")))?;
        port.number.to_string()
    };
    Ok(Target { namespace, resource: "services", name: service.to_string(), port, tls: place.tls })
}

/// Reads a Service that the configuration names.
pub(super) async fn find_service(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<ServiceView, Answer> {
    let api: kube::Api<k8s_openapi::api::core::v1::Service> =
        kube::Api::namespaced(context.client.clone(), namespace);
    let found = api.get(name).await.map_err(|error| {
        let answer = Answer::fail(format!("Service {name} of namespace {namespace} cannot be read: {error}"));
        answer.hinted(format!("kubectl -n {namespace} get services"))
    })?;
    Ok(ServiceView::read(&found))
}

async fn through_the_api_server(
    context: &Context,
    target: &Target,
    path: &str,
    headers: &[(String, String)],
    follow: bool,
    limit: Duration,
) -> Result<Reply, Answer> {
    let base = target.base();
    let mut path = format!("{base}{path}");
    for _ in 0..=MOST_REDIRECTS {
        let reply = match proxy::get(context, &path, headers, limit).await {
            proxy::Answer::Answered(reply) => reply,
            proxy::Answer::Undelivered(why) => {
                return Err(Answer::fail(format!("the API server cannot deliver the request: {why}"))
                    .hinted(format!(
                        "kubectl -n {} get endpointslices -l kubernetes.io/service-name={}",
                        target.namespace, target.name
                    )));
            }
            proxy::Answer::Forbidden(why) => {
                return Err(Answer::fail(why).hinted("grant get on services/proxy"));
            }
            proxy::Answer::Missing(why) | proxy::Answer::Failed(why) => return Err(Answer::fail(why)),
        };
        let next = reply.headers.get(LOCATION).and_then(|next| next.to_str().ok());
        let Some(next) = next.filter(|_| follow && (300..400).contains(&reply.status)) else {
            return Ok(reply);
        };
        path = within(&base, next).ok_or_else(|| elsewhere(next))?;
    }
    Err(Answer::fail(format!("redirects more than {MOST_REDIRECTS} times")))
}

/// Where a redirect leads, if that is within the same Service. The API server has put its own path in front of those that
/// are.
fn within(base: &str, location: &str) -> Option<String> {
    let path = match location.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => location,
    };
    let behind = path.strip_prefix(base)?;
    let stays = behind.starts_with('/') && !behind.split(['/', '?']).any(|part| part == "..");
    stays.then(|| path.to_owned())
}

/// Whether an answer is as described; if not, why.
fn judge(reply: &Reply, check: &HttpCheck) -> Result<(), String> {
    let status = reply.status;
    let is_good =
        if check.status.is_empty() { (200..300).contains(&status) } else { check.status.contains(&status) };
    let text = String::from_utf8_lossy(&reply.body);
    if !is_good {
        let expected: Vec<String> = check.status.iter().map(ToString::to_string).collect();
        let expected = if expected.is_empty() { "200 to 299".to_owned() } else { expected.join(" or ") };
        return Err(format!("answers {status} instead of {expected}: {}", short(&text)));
    }
    for (name, expected) in &check.headers {
        let found = reply.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        match found {
            Some(found) if found == *expected => {}
            Some(found) => {
                return Err(format!("header {name} is {:?} instead of {expected:?}", short(&found)));
            }
            None => return Err(format!("there is no header {name}")),
        }
    }
    if !check.json.is_empty() {
        let document: Value = serde_json::from_slice(&reply.body)
            .map_err(|_| format!("answers {status}, but not in JSON: {}", short(&text)))?;
        for (pointer, expected) in &check.json {
            match document.pointer(pointer) {
                Some(found) if found == expected => {}
                Some(found) => {
                    return Err(format!("{pointer} is {} instead of {expected}", short(&found.to_string())));
                }
                None => return Err(format!("there is no {pointer} in {}", short(&text))),
            }
        }
    }
    match &check.body_contains {
        Some(wanted) if !text.contains(wanted.as_str()) => {
            Err(format!("{wanted:?} is not in the answer: {}", short(&text)))
        }
        _ => Ok(()),
    }
}

/// The start of a text on one line, without credentials.
pub(super) fn short(text: &str) -> String {
    crate::ui::one_line(&crate::wait::redaction::redact(text), Some(SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
        let mut reply = Reply { status, body: body.as_bytes().to_vec(), ..Reply::default() };
        for (name, value) in headers {
            reply.headers.insert(*name, value.parse().unwrap());
        }
        reply
    }

    fn check(yaml: &str) -> HttpCheck {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn an_answer_is_compared_part_by_part() {
        let healthy =
            reply(200, &[("content-type", "application/json")], r#"{"status":"healthy","n":{"a":1}}"#);
        for (yaml, expected) in [
            ("{service: a}", None),
            ("{service: a, status: [200, 204]}", None),
            ("{service: a, status: [204]}", Some("answers 200 instead of 204")),
            ("{service: a, json: {/status: healthy, /n/a: 1}}", None),
            ("{service: a, json: {/status: ok}}", Some(r#"/status is "healthy" instead of "ok""#)),
            ("{service: a, json: {/n/a: '1'}}", Some(r#"/n/a is 1 instead of "1""#)),
            ("{service: a, json: {/gone: 1}}", Some("there is no /gone")),
            ("{service: a, headers: {Content-Type: application/json}}", None),
            ("{service: a, headers: {content-type: text/html}}", Some("header content-type is")),
            ("{service: a, headers: {x-version: '1'}}", Some("there is no header x-version")),
            ("{service: a, bodyContains: healthy}", None),
            ("{service: a, bodyContains: sick}", Some(r#""sick" is not in the answer"#)),
        ] {
            let found = judge(&healthy, &check(yaml)).err();
            match expected {
                None => assert_eq!(found, None, "{yaml}"),
                Some(start) => {
                    assert!(
                        found.as_ref().is_some_and(|found| found.starts_with(start)),
                        "{yaml}: {found:?}"
                    );
                }
            }
        }
        let error = judge(&reply(503, &[], "password=hunter2\ndown"), &check("{service: a}")).unwrap_err();
        assert_eq!(error, "answers 503 instead of 200 to 299: password=*** down");
        let page = reply(200, &[], "<html>");
        assert!(judge(&page, &check("{service: a, json: {/a: 1}}")).unwrap_err().contains("not in JSON"));
    }

    #[test]
    fn redirects_stay_within_the_service() {
        let base = "/api/v1/namespaces/n/services/http:web:80/proxy";
        for (location, stays) in [
            ("/api/v1/namespaces/n/services/http:web:80/proxy/login?a=b", true),
            ("https://api.example.com/api/v1/namespaces/n/services/http:web:80/proxy/login", true),
            ("https://login.example.com/", false),
            ("/api/v1/namespaces/n/secrets", false),
            ("/api/v1/namespaces/n/services/http:web:80/proxy/../../../secrets", false),
            ("/api/v1/namespaces/n/services/http:web:80/proxyx", false),
            ("login", false),
        ] {
            assert_eq!(within(base, location).is_some(), stays, "{location}");
        }
    }
}
