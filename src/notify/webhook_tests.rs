//! Webhooks against a server on loopback that answers as a script says, and ends with the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::config::{Templates, parse};
use crate::context::tests::{context, exchange};

/// What the server does with one request.
enum Deed {
    Answer(&'static str),
    Silence,
}

/// Starts a server that does these deeds, one a connection; answers its address and what it hears.
fn serve(deeds: Vec<Deed>) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/services/SECRET", listener.local_addr().unwrap());
    let (sender, heard) = channel();
    std::thread::spawn(move || {
        for deed in deeds {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).unwrap();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let _ = sender.send((first.trim().to_owned(), serde_json::from_slice(&body).unwrap()));
            match deed {
                Deed::Answer(head) => {
                    let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    let _ = (&stream).write_all(answer.as_bytes());
                }
                // Until whoever waits has had enough and hangs up, or longer than that.
                Deed::Silence => {
                    stream.set_read_timeout(Some(IMPATIENT.limit * 2)).unwrap();
                    let _ = reader.read_to_end(&mut Vec::new());
                }
            }
        }
    });
    (address, heard)
}

const IMPATIENT: Patience =
    Patience { limit: Duration::from_secs(1), pauses: [Duration::from_millis(5), Duration::from_millis(5)] };

fn webhook(yaml: &str) -> Webhook {
    parse("x", &format!("notify: {{webhooks: [{yaml}]}}")).unwrap().notify.webhooks.remove(0)
}

async fn send_to(address: &str, format: &str) -> Delivery {
    let (context, ..) = context(Vec::new());
    let webhook = webhook(&format!("{{name: team, format: {format}, url: '{address}'}}"));
    let facts = Facts::example();
    let message = crate::notify::message(&facts, &Templates::default()).unwrap();
    send(&context, &webhook, &message, &facts, IMPATIENT).await
}

#[tokio::test]
async fn a_message_is_posted_once() {
    for (format, place) in
        [("slack", "/blocks/0/type"), ("teams", "/attachments/0/contentType"), ("json", "/facts/release")]
    {
        let (address, heard) = serve(vec![Deed::Answer("200 OK")]);
        let delivery = send_to(&address, format).await;
        assert_eq!((delivery.sent, delivery.tries, delivery.error), (true, 1, None));
        let (request, body) = heard.recv().unwrap();
        assert_eq!(request, "POST /services/SECRET HTTP/1.1");
        assert!(body.pointer(place).is_some(), "{body}");
        assert!(heard.recv().is_err(), "nothing is posted twice");
    }
}

#[tokio::test]
async fn errors_of_the_server_are_tried_again_and_refusals_are_not() {
    for (deeds, sent, tries, said) in [
        (vec![Deed::Answer("500 No"), Deed::Answer("503 No"), Deed::Answer("202 Ok")], true, 3, None),
        (
            vec![Deed::Answer("500 No"), Deed::Answer("500 No"), Deed::Answer("500 No")],
            false,
            3,
            Some("it answers 500"),
        ),
        (vec![Deed::Answer("429 Slow"), Deed::Answer("200 Ok")], true, 2, None),
        (vec![Deed::Answer("404 No")], false, 1, Some("it answers 404")),
        (vec![Deed::Silence, Deed::Answer("200 Ok")], true, 2, None),
        (vec![Deed::Silence, Deed::Silence, Deed::Silence], false, 3, Some("no answer in time")),
        (
            vec![Deed::Answer("302 Found\r\nlocation: https://evil.example.com/steal")],
            false,
            1,
            Some("it redirects to evil.example.com (302), which is not followed"),
        ),
        (
            vec![Deed::Answer("307 Found\r\nlocation: /elsewhere")],
            false,
            1,
            Some("it redirects to 127.0.0.1 (307), which is not followed"),
        ),
    ] {
        let (address, heard) = serve(deeds);
        let delivery = send_to(&address, "json").await;
        assert_eq!((delivery.sent, delivery.tries), (sent, tries), "{delivery:?}");
        assert_eq!(delivery.error.as_deref(), said);
        assert!(!format!("{delivery:?}").contains("SECRET"), "{delivery:?}");
        assert_eq!(heard.iter().count(), tries);
    }
}

#[tokio::test]
async fn where_nobody_listens_the_address_is_not_told() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/SECRET", listener.local_addr().unwrap())
    };
    let delivery = send_to(&address, "json").await;
    assert_eq!((delivery.sent, delivery.tries), (false, 3));
    let why = delivery.error.unwrap();
    assert!(why.contains("refused") && !why.contains("SECRET"), "{why}");
}

#[tokio::test]
async fn the_address_may_stand_in_a_secret() {
    let (address, heard) = serve(vec![Deed::Answer("200 OK")]);
    let path = "/api/v1/namespaces/n/secrets/hooks";
    let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hooks"}, "data": data});
    let encoded = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let forbidden = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "secrets \"hooks\" is forbidden", "reason": "Forbidden", "code": 403});
    let facts = Facts::example();
    let message = crate::notify::message(&facts, &Templates::default()).unwrap();
    let webhook = webhook("{name: team, format: json, urlFrom: {secret: {name: hooks, key: url}}}");
    for (status, answer, said) in [
        (200, secret(json!({"url": encoded(&format!("{address}\n"))})), None),
        (200, secret(json!({"other": ""})), Some("there is no such key")),
        (200, secret(json!({"url": encoded("HIDDEN")})), Some("is no URL")),
        (403, forbidden, Some("is forbidden")),
    ] {
        let (context, ..) = context(vec![exchange(Method::GET, path, status, answer)]);
        let delivery = send(&context, &webhook, &message, &facts, IMPATIENT).await;
        match said {
            None => assert!(delivery.sent, "{delivery:?}"),
            Some(said) => {
                let why = delivery.error.unwrap();
                assert!(why.contains(said) && why.contains("key url of Secret hooks"), "{why}");
                assert!(!why.contains("HIDDEN"), "{why}");
            }
        }
    }
    assert_eq!(heard.iter().count(), 1);
}

#[tokio::test]
async fn a_variable_that_is_not_set_is_named() {
    let (context, ..) = context(Vec::new());
    let webhook = webhook("{name: team, format: json, urlFrom: {env: KUBECTL_ROLLBACK_NOBODY_SETS_THIS}}");
    let facts = Facts::example();
    let message = crate::notify::message(&facts, &Templates::default()).unwrap();
    let delivery = send(&context, &webhook, &message, &facts, IMPATIENT).await;
    let why = "environment variable KUBECTL_ROLLBACK_NOBODY_SETS_THIS is not set";
    assert_eq!((delivery.tries, delivery.error.as_deref()), (0, Some(why)));
}
