//! Pages whose blocks of commands are typed into a shell on a terminal, in the page's order. What a page shows must be seen, and
//! the exit codes must be those that it names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::documents::blocks;
use crate::documents::shown::{answers, exit_code, missing};
use crate::harness::{Release, Shell, Test, chart, say};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tasks")
}

pub fn page(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.md"))).unwrap()
}

/// Types everything of a page; a block of YAML is the configuration. `prepare` brings the platform to where the page begins.
pub fn walk<'test>(test: &'test Test, name: &str, prepare: impl FnOnce(&str) -> Release<'test>) {
    let page = page(name);
    let release = prepare(&page);
    let shell = Shell::open(test, release.helm);
    std::os::unix::fs::symlink(chart("todo-app"), shell.folder.path().join("todo-app")).unwrap();
    let blocks = blocks(&page);
    for block in blocks.iter().filter(|block| block.language == "yaml") {
        fs::write(shell.folder.path().join(".kubectl-rollback.yaml"), block.lines.join("\n")).unwrap();
    }
    let mut typed = 0;
    for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block.language == "sh") {
        let shown = blocks.get(index + 1).filter(|next| next.language == "text");
        let run = shell.type_in(&block.lines, &answers(shown));
        if std::env::var_os("KUBECTL_ROLLBACK_TEST_SHOW").is_some() {
            say(&run.to_string());
        }
        assert_eq!(run.code, Some(exit_code(block)), "{name}: {run}");
        if let Some(line) = shown.and_then(|shown| missing(shown, &run.lines)) {
            panic!("{name}: not seen: {line}\n{run}");
        }
        typed += 1;
    }
    assert!(typed >= 2, "{name} has only {typed} blocks to type");
}
