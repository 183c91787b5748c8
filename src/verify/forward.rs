//! Ports that are not HTTP: a connection through a port-forward to one ready pod of a Service.

use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Answer;
use super::http::{find_service, short};
use super::services::container_port;
use crate::config::{PortName, RedisCheck, TcpCheck, secret};
use crate::context::Context;
use crate::event::FindingStatus;

/// How long a connection must hold to count: the kubelet reports within it that nobody listens.
const HOLD: Duration = Duration::from_secs(1);
/// Bytes of a Redis answer that are read.
const LONGEST_LINE: usize = 1024;

/// Connects.
pub async fn tcp(context: &Context, check: &TcpCheck) -> Answer {
    through(context, &check.service, check.port.as_ref(), async |stream, place| {
        let mut byte = [0];
        match timeout(HOLD, stream.read(&mut byte)).await {
            // One that waits for us to speak, or a server that greets.
            Err(_) | Ok(Ok(1..)) => Answer::pass(place),
            Ok(Ok(0)) => Answer::fail(format!("{place} closes the connection")),
            Ok(Err(why)) => Answer::fail(format!("the connection breaks: {why}")),
        }
    })
    .await
}

/// Says PING.
pub async fn redis(context: &Context, check: &RedisCheck) -> Answer {
    let password = match &check.password {
        Some(source) => match secret::read(source, &context.client, &context.namespace).await {
            Ok(password) => Some(password),
            Err(why) => return Answer::fail(format!("the password cannot be read: {why}")),
        },
        None => None,
    };
    let password = password.as_ref().map(ExposeSecret::expose_secret);
    through(context, &check.service, check.port.as_ref(), async |stream, place| {
        match ping(stream, password).await {
            Ok(()) => Answer::pass(format!("PONG from {place}")),
            Err(why) => Answer::fail(why),
        }
    })
    .await
}

/// Opens a connection to a ready pod behind a Service and puts a question through it. A kubelet that finds nobody on the
/// port says so and closes the connection, and the two arrive in any order: its word stands above what the question met.
async fn through(
    context: &Context,
    service: &str,
    port: Option<&PortName>,
    question: impl AsyncFnOnce(&mut (dyn Stream + '_), String) -> Answer,
) -> Answer {
    let place = match find(context, service, port).await {
        Ok(place) => place,
        Err(answer) => return answer,
    };
    let mut forward = match place.connect(context).await {
        Ok(forward) => forward,
        Err(answer) => return answer,
    };
    let (Some(mut stream), Some(error)) = (forward.take_stream(place.port), forward.take_error(place.port))
    else {
        return Answer::fail("the port-forward has no stream");
    };
    let mut error = pin!(error);
    let nobody = |why: String| Answer::fail(format!("nobody listens: {}", short(&why)));
    let answer = tokio::select! {
        biased;
        Some(why) = &mut error => nobody(why),
        answer = question(&mut stream, place.said()) => match answer.status {
            FindingStatus::Pass => answer,
            _ => match timeout(HOLD, &mut error).await {
                Ok(Some(why)) => nobody(why),
                _ => answer,
            },
        },
    };
    forward.abort();
    answer
}

/// Both directions of a connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Speaks Redis' protocol: AUTH where there is a password, then PING.
async fn ping(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin + ?Sized),
    password: Option<&str>,
) -> Result<(), String> {
    if let Some(password) = password {
        let answer = ask(stream, &["AUTH", password]).await?;
        if answer != "+OK" {
            return Err(format!("Redis does not take the password: {}", short(&answer)));
        }
    }
    match ask(stream, &["PING"]).await?.as_str() {
        "+PONG" => Ok(()),
        answer if answer.starts_with("-NOAUTH") => Err("Redis wants a password; give one".to_owned()),
        answer => Err(format!("answers PING with {}", short(answer))),
    }
}

async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin + ?Sized),
    words: &[&str],
) -> Result<String, String> {
    use std::fmt::Write;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        let _ = write!(request, "${}\r\n{word}\r\n", word.len());
    }
    let broken = |error: std::io::Error| format!("the connection breaks: {error}");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        match timeout(Duration::from_secs(5), stream.read(&mut byte)).await {
            Err(_) => return Err(format!("no answer to {}", words[0])),
            Ok(Err(error)) => return Err(broken(error)),
            Ok(Ok(0)) => {
                return Err(format!("the connection is closed instead of an answer to {}", words[0]));
            }
            Ok(Ok(_)) if byte[0] == b'\n' => break,
            Ok(Ok(_)) => line.push(byte[0]),
        }
        if line.len() > LONGEST_LINE {
            return Err("answers like no Redis".to_owned());
        }
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// A pod's port behind a Service.
struct Place {
    pod: String,
    port: u16,
    api: Api<Pod>,
}

impl Place {
    fn said(&self) -> String {
        format!("pod {}, port {}", self.pod, self.port)
    }

    async fn connect(&self, context: &Context) -> Result<kube::api::Portforwarder, Answer> {
        self.api.portforward(&self.pod, &[self.port]).await.map_err(|error| {
            Answer::fail(format!("no port-forward to pod {}: {error}", self.pod))
                .hinted(format!("kubectl auth can-i create pods/portforward -n {}", context.namespace))
        })
    }
}

async fn find(context: &Context, service: &str, port: Option<&PortName>) -> Result<Place, Answer> {
    let namespace = &context.namespace;
    let view = find_service(context, namespace, service).await?;
    let Some(to) = view.port(port) else {
        let port = port.map_or_else(|| "a port".to_owned(), |port| format!("port {port}"));
        return Err(Answer::fail(format!("Service {service} does not have {port}")));
    };
    if view.selector.is_empty() {
        return Err(Answer::fail(format!("Service {service} selects no pods to connect to")));
    }
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let parameters = ListParams::default().labels(&view.selector_text());
    let pods = api.list(&parameters).await.map_err(|error| {
        Answer::fail(format!("the pods behind Service {service} cannot be listed: {error}"))
    })?;
    let Some(pod) = pods.items.iter().find(|pod| is_ready(pod)) else {
        return Err(Answer::fail(format!("there is no ready pod behind Service {service}")));
    };
    let spec = serde_json::to_value(&pod.spec).unwrap_or_default();
    let containers = spec.get("containers").and_then(Value::as_array);
    let Some(port) = container_port(containers.into_iter().flatten(), &to.target) else {
        return Err(Answer::fail(format!("no container of the pod has port {}", to.target)));
    };
    Ok(Place { pod: pod.metadata.name.clone().unwrap_or_default(), port, api })
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn with_answers(answers: &'static [u8], password: Option<&str>) -> (Result<(), String>, String) {
        let (mut ours, theirs) = tokio::io::duplex(1024);
        let (mut reader, mut writer) = tokio::io::split(theirs);
        let server = tokio::spawn(async move {
            writer.write_all(answers).await.unwrap();
            let mut heard = Vec::new();
            let _ = reader.read_to_end(&mut heard).await;
            String::from_utf8(heard).unwrap()
        });
        let answer = ping(&mut ours, password).await;
        drop(ours);
        (answer, server.await.unwrap())
    }

    #[tokio::test]
    async fn a_redis_is_asked_in_its_own_words() {
        assert_eq!(with_answers(b"+PONG\r\n", None).await, (Ok(()), "*1\r\n$4\r\nPING\r\n".to_owned()));
        let (answer, heard) = with_answers(b"+OK\r\n+PONG\r\n", Some("hunter2")).await;
        assert_eq!(
            (answer, heard.as_str()),
            (Ok(()), "*2\r\n$4\r\nAUTH\r\n$7\r\nhunter2\r\n*1\r\n$4\r\nPING\r\n")
        );
        for (answers, password, expected) in [
            (&b"-NOAUTH Authentication required.\r\n"[..], None, "wants a password"),
            (b"-WRONGPASS invalid\r\n", Some("hunter2"), "does not take the password: -WRONGPASS"),
            (b"-LOADING Redis is loading\r\n", None, "answers PING with -LOADING"),
            (b"HTTP/1.1 400 Bad Request\r\n", None, "answers PING with HTTP/1.1"),
        ] {
            let why = with_answers(answers, password).await.0.unwrap_err();
            assert!(why.contains(expected), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
