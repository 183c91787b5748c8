//! The house rules that can be read off the source text, as tests. `CONTRIBUTING.md` says why each is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines that a source file may have.
const LONGEST_FILE: usize = 450;

/// Methods of kube's `Api` that persist something.
const WRITES: [&str; 10] = [
    ".patch(",
    ".patch_metadata(",
    ".patch_scale(",
    ".patch_status(",
    ".patch_subresource(",
    ".create(",
    ".replace(",
    ".replace_status(",
    ".delete(",
    ".delete_collection(",
];

/// Ways around `Api`.
const RAW_WRITES: [&str; 5] =
    ["Request::post(", "Request::patch(", "Request::put(", "Request::delete(", ".evict("];

/// The only parts that change the cluster.
fn may_write(path: &str) -> bool {
    path.starts_with("src/execute/") || path == "src/helm/storage.rs"
}

/// The one module that asks the server with write requests, none of which persists.
const DRY_RUN: &str = "src/preflight/dry_run.rs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file that is or would be committed, by its path from the root.
fn files() -> BTreeSet<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files of the tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let files: BTreeSet<String> =
        names.split('\0').filter(|name| root().join(name).is_file()).map(str::to_owned).collect();
    assert!(files.contains("tests/tree.rs"), "git lists another tree");
    files
}

/// The text of a file; nothing for binary ones.
fn text(path: &str) -> Option<String> {
    String::from_utf8(fs::read(root().join(path)).unwrap()).ok()
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

/// Rust files below any of `folders` with their text.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let sources: Vec<(String, String)> = files()
        .into_iter()
        .filter(|path| folders.iter().any(|folder| path.starts_with(folder)) && has_extension(path, "rs"))
        .map(|path| {
            let text = text(&path).expect("source files are UTF-8");
            (path, text)
        })
        .collect();
    assert!(!sources.is_empty());
    sources
}

/// Whether a whole file is compiled for tests only, by its name.
fn is_test_file(path: &str) -> bool {
    path.ends_with("_tests.rs") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The part of a module that is shipped: what stands before its tests. Comments are blanked.
fn shipped(source: &str) -> String {
    let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    let without_comment =
        |line: &str| if line.trim_start().starts_with("//") { String::new() } else { line.to_owned() };
    source[..end].lines().map(without_comment).collect::<Vec<_>>().join("\n")
}

/// Places where shipped code calls something that persists, as `path:line: text`.
fn writes(path: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(shipped(source).lines()) {
        let calls = WRITES.iter().any(|call| {
            line.match_indices(call).any(|(start, _)| {
                // `str::replace` takes texts, kube's takes parameters.
                let rest = &line[start + call.len()..];
                let is_text = rest.contains(['"', '\'']) && !rest.contains("Params");
                // `OpenOptions::create(true)` makes a file.
                let is_file = rest.starts_with("true)");
                let is_text_replacement = *call == ".replace(" && is_text;
                !is_file && !is_text_replacement
            })
        });
        if calls || RAW_WRITES.iter().any(|call| line.contains(call)) {
            found.push(format!("{path}:{number}: {}", line.trim()));
        }
    }
    found
}

#[test]
fn only_two_places_write_to_the_cluster() {
    let mut elsewhere = Vec::new();
    let mut writers = 0;
    for (path, source) in sources(&["src/"]).iter().filter(|(path, _)| !is_test_file(path)) {
        let found = writes(path, source);
        if may_write(path) {
            writers += found.len();
        } else if path != DRY_RUN {
            elsewhere.extend(found);
        }
    }
    assert!(elsewhere.is_empty(), "writes outside execute/ and helm/storage.rs:\n{}", elsewhere.join("\n"));
    assert!(writers >= 4, "the search finds only {writers} of the writes that there are");
}

#[test]
fn the_dry_run_module_cannot_persist() {
    let source = shipped(&text(DRY_RUN).unwrap());
    let functions: Vec<&str> = source.split("\npub async fn ").skip(1).collect();
    assert!(functions.len() >= 2, "the module has functions");
    for function in functions {
        assert_eq!(persists(function), None, "in {function}");
    }
}

/// Why a function with write requests could persist something; nothing where it cannot.
fn persists(function: &str) -> Option<&'static str> {
    let calls = writes(DRY_RUN, function).len();
    // An access review is answered and stored nowhere; the API has no dry run of it.
    let is_review = function.contains("let review = SelfSubjectAccessReview {")
        && function.contains(".create(&PostParams::default(), &review)");
    if is_review && calls == 1 {
        return None;
    }
    if function.matches("Params {").count() != calls || function.matches("dry_run: true").count() != calls {
        return Some("a call without parameters of its own that say dry_run: true");
    }
    // Parameters that come from elsewhere, or are changed afterwards, could say anything.
    let other_ways = ["dry_run: false", ".dry_run =", "Params::apply", "&PatchParams", "&PostParams"];
    other_ways.iter().any(|way| function.contains(way)).then_some("parameters from elsewhere")
}

#[test]
fn nothing_prints_outside_the_ui() {
    let words = ["println!", "print!(", "dbg!(", "writeln!(std::io", "writeln!(io::"];
    let mut found = Vec::new();
    for (path, source) in sources(&["src/", "xtask/src/"]) {
        let prints = path.starts_with("src/ui/") || path == "xtask/src/screen.rs";
        // What main says there is for when nothing else could be built.
        if prints || path == "src/main.rs" || is_test_file(&path) {
            continue;
        }
        found.extend(
            words
                .iter()
                .filter(|word| shipped(&source).contains(*word))
                .map(|word| format!("{path}: {word}")),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn modules_say_what_they_are_for() {
    let silent: Vec<String> = sources(&["src/", "xtask/src/", "tests/"])
        .into_iter()
        .filter(|(path, source)| !source.starts_with("//! ") && !path.ends_with("/tests.rs"))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "do not open with //!: {}", silent.join(", "));
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = sources(&["src/", "xtask/src/", "tests/"])
        .into_iter()
        .map(|(path, source)| (path, source.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "longer than {LONGEST_FILE} lines: {}", long.join(", "));
}

#[test]
fn nothing_is_left_half_done() {
    // Taken apart, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ign", "ore"),
        concat!("#[al", "low("),
    ];
    let mut found = Vec::new();
    for (path, source) in sources(&["src/", "xtask/src/", "tests/"]) {
        for (number, line) in (1..).zip(source.lines()) {
            found.extend(
                words
                    .iter()
                    .filter(|word| line.contains(*word))
                    .map(|word| format!("{path}:{number}: {word}")),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A path of somebody's machine works on that machine only.
#[test]
fn no_file_names_a_path_of_a_machine() {
    let paths =
        [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp/", "wt"), concat!("/Us", "ers/")];
    let mut found = Vec::new();
    for path in files() {
        let Some(text) = text(&path) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            if paths.iter().any(|machine| line.contains(machine)) {
                found.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Links of the documentation that lead into the tree lead somewhere.
#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for path in files().into_iter().filter(|path| has_extension(path, "md")) {
        let document = text(&path).unwrap();
        let folder = Path::new(&path).parent().map(PathBuf::from).unwrap_or_default();
        for link in document.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !root().join(&folder).join(target).exists() {
                broken.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn what_could_persist_is_seen() {
    let with = |parameters: &str| format!("let p = PatchParams {{ {parameters} }}; api.patch(a, &p, b)");
    assert_eq!(persists(&with("dry_run: true")), None);
    assert_eq!(persists("let x = 1;"), None);
    assert!(persists(&with("force: true")).is_some());
    assert!(persists(&with("dry_run: true } ; PostParams { force: true")).is_some());
    assert!(persists("api.create(&PostParams::default(), &pod)").is_some());
    let review = "let review = SelfSubjectAccessReview { }; api.create(&PostParams::default(), &review)";
    assert_eq!(persists(review), None);
    assert!(persists(&format!("{review};\n api.create(&PostParams::default(), &pod)")).is_some());
}

#[test]
fn the_search_for_writes_tells_kube_from_text() {
    for write in [
        "api.patch(&name, &p, &x)",
        "api.replace(&name, &p, &o)",
        "self.api\n    .delete(name, &p)",
        "api.replace(name, &p, &o)",
    ] {
        assert_eq!(writes("x", write).len(), 1, "{write}");
    }
    for text in ["s.replace('a', \"\")", "s.replace(\"a\", b)", "s.replace(&x, \"\")", "o.create(true)"] {
        assert!(writes("x", text).is_empty(), "{text}");
    }
    assert!(writes("x", "#[cfg(test)]\nmod tests {\n api.patch(a, b)").is_empty());
}
