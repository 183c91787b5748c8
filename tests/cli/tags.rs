//! `tags` against a registry of canned answers, page by page.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use insta::{Settings, assert_snapshot};
use serde_json::{Value, json};

use crate::rollback::shop;
use crate::{Output, api, program_against, run};

/// A registry that has `tags` of `ghcr.io/acme/backend`, two on a page, and no other repository.
fn registry(tags: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines: Vec<String> = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
            let (status, link, body) = if path.starts_with("/v2/acme/backend/tags/list") {
                let last = path.split("last=").nth(1);
                let start =
                    last.and_then(|last| tags.iter().position(|tag| *tag == last)).map_or(0, |at| at + 1);
                let page = &tags[start..tags.len().min(start + 2)];
                let next = (start + 2 < tags.len()).then(|| page[page.len() - 1]);
                let link = next.map(|last| {
                    format!("link: </v2/acme/backend/tags/list?n=2&last={last}>; rel=\"next\"\r\n")
                });
                ("200 OK", link.unwrap_or_default(), json!({"name": "acme/backend", "tags": page}))
            } else {
                ("404 Not Found", String::new(), json!({"errors": [{"code": "NAME_UNKNOWN"}]}))
            };
            let body = body.to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nconnection: close\r\n{link}content-length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

fn tags(api: &api::Api, address: &str, arguments: &[&str]) -> Output {
    let mut command = program_against(api, &[&["tags"], arguments].concat());
    run(command.env("KUBECTL_ROLLBACK_REGISTRY_MIRROR", format!("ghcr.io={address},docker.io=127.0.0.1:9")))
}

#[track_caller]
fn assert_table(name: &str, output: &Output) {
    let mut settings = Settings::clone_current();
    settings.add_filter(r"\(\d+\w\)", "([age])");
    settings.bind(|| assert_snapshot!(name, output.to_string()));
}

#[test]
fn deployed_tags_stand_above_the_others() {
    let api = shop(|_| {});
    let address = registry(&["a", "bad", "good-0", "v1.2", "v1.10", "z"]);
    let output = tags(&api, &address, &[]);
    assert_eq!(output.code, 0, "{output}");
    assert_table("tags", &output);
    let few = tags(&api, &address, &["--max", "1"]);
    assert_table("tags-few", &few);
    let document: Value =
        serde_json::from_str(&tags(&api, &address, &["-o", "json", "--all"]).stdout).unwrap();
    assert_eq!(document["kind"], "TagList", "{document}");
    let names: Vec<&str> =
        document["tags"].as_array().unwrap().iter().filter_map(|row| row["tag"].as_str()).collect();
    assert_eq!(names, ["bad", "good-1", "v1.10", "v1.2", "a", "good-0", "z"]);
    assert_eq!(document["tags"][1]["gone"], json!(["ghcr.io/acme/backend"]));
    assert_eq!(document["tags"][1]["deployed"][0]["revision"], 1);
    assert_eq!(document["repositories"][0]["tags"], 6);
    assert_eq!(*api.seen.writes.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn names_only_and_one_repository() {
    let api = shop(|_| {});
    let address = registry(&["bad", "x"]);
    let output = tags(&api, &address, &["-o", "name", "--repository", "ghcr.io/acme/backend"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, "bad\ngood-1\nx\n"), "{output}");
    let unknown = tags(&api, &address, &["--repository", "ghcr.io/acme/nothing"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (2, ""), "{unknown}");
    assert!(unknown.stderr.contains("ghcr.io/acme/backend"), "{unknown}");
}

#[test]
fn without_an_answer_what_ran_is_shown_and_the_exit_code_says_so() {
    let api = shop(|_| {});
    let output = tags(&api, "127.0.0.1:9", &[]);
    assert_eq!(output.code, 1, "{output}");
    assert_table("tags-unreachable", &output);
}
