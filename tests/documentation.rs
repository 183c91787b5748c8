//! What the documents tell people to type is accepted by the real command line, and the tables of exit codes name
//! the codes that there are.

mod documents;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use documents::shown::{answers, exit_code, missing};
use documents::{Block, words};
use kubectl_rollback::cli::Cli;

/// Every Markdown document of the project's own, with its name.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.to_path_buf(), root.join("docs"), root.join("docs/decisions")];
    folders.extend(["docs/tasks", "tests/platform"].map(|folder| root.join(folder)));
    let markdown = |folder: &PathBuf| {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect::<Vec<_>>()
    };
    let documents = folders.iter().flat_map(markdown);
    documents.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

/// The command lines of this tool in a document: lines of code blocks, and code within text.
fn command_lines(document: &str) -> Vec<String> {
    let fenced = documents::blocks(document).into_iter().flat_map(|block| block.lines);
    let indented = document.lines().filter(|line| line.starts_with("    ")).map(str::to_owned);
    let in_blocks = fenced.chain(indented).map(|line| line.trim().trim_start_matches("$ ").to_owned());
    let is_ours = |line: &String| {
        line.starts_with("kubectl rollback ")
            || line.starts_with("kubectl-rollback ")
            || line.starts_with("helm saferollback ")
    };
    in_blocks.chain(documents::inline_code(document)).filter(is_ours).collect()
}

/// The arguments behind the program's name, with placeholders replaced by something of their shape.
fn arguments(line: &str) -> Vec<OsString> {
    let words = words(line);
    let behind = if line.starts_with("kubectl-rollback ") { 1 } else { 2 };
    let concrete = |word: &String| match word.as_str() {
        "[RELEASE]" | "RELEASE" => "release".to_owned(),
        "[OPERATION]" => "7f3a".to_owned(),
        "TAG" => "abc123d".to_owned(),
        "SHELL" => "bash".to_owned(),
        "SELECTOR" => "app=web".to_owned(),
        "KIND/NAME" => "deploy/web".to_owned(),
        "[REVISION]" => "5".to_owned(),
        word => word.replace("sha256:…", &format!("sha256:{}", "a".repeat(64))),
    };
    ["kubectl-rollback".to_owned()]
        .into_iter()
        .chain(words.iter().skip(behind).map(concrete))
        .map(OsString::from)
        .collect()
}

#[test]
fn every_command_in_the_documents_is_one() {
    let mut found = 0;
    let mut wrong = Vec::new();
    for (name, document) in documents() {
        for line in command_lines(&document) {
            found += 1;
            // A command named without what it needs (`kubectl rollback emergency`) is a name, not a command line.
            let only_named = words(&line).len() == 3;
            match Cli::try_parse_arguments(arguments(&line)) {
                Err(error)
                    if error.kind() == clap::error::ErrorKind::MissingRequiredArgument && only_named => {}
                Err(error) if error.use_stderr() => wrong.push(format!("{name}: {line}\n{error}")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found >= 15, "the search finds only {found} command lines");
}

#[test]
fn flags_within_the_text_exist() {
    let mut known: Vec<String> = Vec::new();
    collect_flags(&Cli::command_for("kubectl-rollback"), &mut known);
    // Flags of other programs that the documents speak of: xtask's, Helm's, cargo's.
    let foreign =
        ["all", "mode", "name", "max-age", "only", "path", "release", "lib", "workspace", "all-targets"];
    let foreign =
        [&foreign[..], &["atomic", "rollback-on-failure", "password", "sql", "backwards", "verbosity"]]
            .concat();
    let foreign =
        [&foreign[..], &["set", "force-conflicts", "wait", "locked", "replicas", "for", "install"]].concat();
    let mut wrong = Vec::new();
    for (name, document) in documents().into_iter().filter(|(name, _)| !name.contains("platform")) {
        for code in documents::inline_code(&document) {
            for word in code.split_whitespace().filter_map(|word| word.strip_prefix("--")) {
                let flag = word.split(['=', '[']).next().unwrap_or_default();
                if !flag.is_empty() && !known.iter().any(|known| known == flag) && !foreign.contains(&flag) {
                    wrong.push(format!("{name}: --{flag}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn collect_flags(command: &clap::Command, flags: &mut Vec<String>) {
    flags.extend(command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned)));
    for subcommand in command.get_subcommands() {
        collect_flags(subcommand, flags);
    }
}

#[test]
fn the_table_of_exit_codes_is_whole() {
    let readme = include_str!("../README.md");
    let table = &readme[readme.find("## Exit codes").unwrap()..readme.find("## Permissions").unwrap()];
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let numbers = rows.filter_map(|row| row.split(" |").next()).flat_map(|cell| cell.split(", "));
    let documented: Vec<u8> = numbers.filter_map(|number| number.parse().ok()).collect();
    assert_eq!(documented, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130, 143]);
}

/// Every text in a YAML document.
fn texts(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(items) => items.iter().flat_map(texts).collect(),
        serde_json::Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_jobs_for_pipelines_are_yaml_and_their_commands_are_commands() {
    for (name, jobs) in
        [("github", include_str!("../docs/ci/github.yml")), ("gitlab", include_str!("../docs/ci/gitlab.yml"))]
    {
        let parsed: serde_json::Value = serde_saphyr::from_str(jobs).unwrap();
        let scripts = texts(&parsed);
        let comments = jobs.lines().filter(|line| line.trim_start().starts_with('#')).map(str::to_owned);
        let lines: Vec<String> = scripts
            .into_iter()
            .chain(comments)
            .filter_map(|text| Some(text[text.find("kubectl-rollback ci ")?..].replace('\n', " ")))
            .collect();
        assert!(!lines.is_empty(), "{name}");
        for line in lines {
            let arguments = arguments(&line);
            if let Err(error) = Cli::try_parse_arguments(arguments.clone()) {
                panic!("{name}: {line}\n{error}");
            }
            // A folded block keeps the line breaks of lines that are indented more.
            let deploy = arguments.iter().position(|word| word == "--").map(|at| &arguments[at + 1..]);
            assert!(deploy.is_none_or(|deploy| deploy.len() > 10), "{name}: {line}");
        }
    }
}

#[test]
fn commands_are_found_in_text_and_blocks() {
    let document = "Run `kubectl rollback status`:\n\n    kubectl rollback version   # why\n\n```console\n$ kubectl rollback a \"b c\"\n```\n";
    let found = command_lines(document);
    assert_eq!(
        found,
        ["kubectl rollback a \"b c\"", "kubectl rollback version   # why", "kubectl rollback status"]
    );
    assert_eq!(words(&found[0]), ["kubectl", "rollback", "a", "b c"]);
    assert_eq!(words(&found[1]), ["kubectl", "rollback", "version"]);
    assert_eq!(words("a 'b \"c' \"d'e\" # f"), ["a", "b \"c", "d'e"]);
    assert!(Cli::try_parse_arguments(arguments("kubectl rollback undo")).is_err());
}

#[test]
fn what_is_shown_is_found_and_what_is_not_seen_is_missed() {
    let block = |lines: &[&str]| Block {
        language: "text".to_owned(),
        lines: lines.iter().map(ToString::to_string).collect(),
    };
    let seen = [
        "✔ wait       6 workloads ready  1.2s",
        "pod web-6b65c59c5-wmxj7 exited",
        "done at 2026-11-25 09:14Z",
    ];
    let seen: Vec<String> = seen.iter().map(ToString::to_string).collect();
    for (shown, expected) in [
        (&["✔ wait   6 workloads ready  14.1s"][..], None),
        (&["6 workloads", "…", "done at 2027-01-01 10:00Z"], None),
        (&["pod web-7c5b9d4f66-x2x4z exited"], None),
        (&["✔ … ready"], None),
        (&["5 workloads"], Some("5 workloads")),
        (&["done at 2026-11-25 09:14Z", "6 workloads"], Some("6 workloads")),
        (&["✔ … broken"], Some("✔ … broken")),
    ] {
        assert_eq!(missing(&block(shown), &seen).map(String::as_str), expected, "{shown:?}");
    }
    let question = block(&["Go back? Type todo-app to continue: todo-app"]);
    assert_eq!(answers(Some(&question)), ["todo-app"]);
    assert_eq!(exit_code(&block(&["kubectl rollback verify   # exit code 6"])), 6);
}
