//! `completion`: scripts for shells, and the answers to kubectl's own completion. Needs no cluster.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::{Conclusion, Failure};
use crate::cli::{Cli, CompletionArgs, OutputArgs};
use crate::ui::{Printer, one_line};

/// The word by which kubectl's completion programs ask, as Cobra has it.
pub const ASK: &str = "__complete";
/// Cobra's directive: no file names beside these.
const NO_FILES: &str = ":4";
/// The program that kubectl runs for words behind `kubectl rollback`.
const ASKED: &str = "kubectl_complete-rollback";
/// By this line a program of ours is known.
const MARK: &str =
    "Answers kubectl's completion of kubectl rollback; written by kubectl-rollback completion install.";

/// Prints a script, or writes the program that kubectl asks.
pub fn run(printer: &Printer, output: &OutputArgs, arguments: &CompletionArgs) -> u8 {
    let answer = match (arguments.target.shell(), &arguments.dir) {
        (Some(_), Some(_)) => Err(Failure::usage("--dir belongs to completion install")),
        (Some(shell), None) => {
            let mut script = Vec::new();
            let mut command = Cli::command_for("kubectl-rollback");
            clap_complete::generate(shell, &mut command, "kubectl-rollback", &mut script);
            Ok(String::from_utf8_lossy(&script).trim_end().to_owned())
        }
        (None, folder) => install(folder.as_deref()).map(|path| format!("{} is written", path.display())),
    };
    match answer {
        Ok(text) => {
            printer.result(&text);
            0
        }
        Err(failure) => Conclusion::without_session(printer, output, "completion", &failure),
    }
}

fn install(folder: Option<&Path>) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(anyhow::Error::from)?;
    let folder = folder.or_else(|| own.parent()).unwrap_or(Path::new("."));
    let (name, text) = if cfg!(windows) {
        (format!("{ASKED}.cmd"), format!("@rem {MARK}\r\n@kubectl-rollback {ASK} %*\r\n"))
    } else {
        (ASKED.to_owned(), format!("#!/bin/sh\n# {MARK}\nexec kubectl-rollback {ASK} \"$@\"\n"))
    };
    let path = folder.join(name);
    match std::fs::read_to_string(&path) {
        Ok(found) if !found.contains(MARK) => {
            return Err(Failure::usage(format!(
                "{} is there and not from kubectl-rollback; it was left alone",
                path.display()
            )));
        }
        _ => {}
    }
    let failed = |error: std::io::Error| {
        Failure::from(anyhow::Error::new(error).context(format!("cannot write {}", path.display())))
            .hinted("name a folder on the PATH that is yours: --dir PATH")
    };
    std::fs::write(&path, text).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    Ok(path)
}

/// What may come behind these words, the last of which is being typed; one a line, as Cobra's programs answer kubectl.
pub fn answer(words: &[OsString]) -> String {
    let mut command = Cli::command_for("kubectl-rollback");
    let arguments: Vec<OsString> =
        std::iter::once(OsString::from("kubectl-rollback")).chain(words.iter().cloned()).collect();
    let last = arguments.len() - 1;
    let candidates = clap_complete::engine::complete(&mut command, arguments, last, None).unwrap_or_default();
    let mut text = String::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_hide_set()) {
        let value = OsStr::to_string_lossy(candidate.get_value());
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = one_line(help.lines().next().unwrap_or_default(), None);
        let _ = if help.is_empty() { writeln!(text, "{value}") } else { writeln!(text, "{value}\t{help}") };
    }
    text.push_str(NO_FILES);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(words: &[&str]) -> Vec<String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let text = answer(&words);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines.pop().as_deref(), Some(NO_FILES));
        lines.iter().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn kubectl_is_told_what_may_come_next() {
        assert_eq!(values(&["emer"]), ["emergency"]);
        assert!(values(&[""]).contains(&"verify".to_owned()));
        assert_eq!(values(&["emergency", "--strat"]), ["--strategy"]);
        assert_eq!(values(&["emergency", "--strategy", ""]), ["auto", "rolling", "stop-first"]);
        assert_eq!(values(&["notify", "com"]), ["complete"]);
        assert!(answer(&[OsString::from("emer")]).starts_with("emergency\tStop, swap images"));
    }

    #[test]
    fn the_program_is_written_once_and_overwrites_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = install(Some(folder.path())).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("kubectl-rollback __complete"));
        install(Some(folder.path())).unwrap();
        std::fs::write(&path, "somebody's").unwrap();
        let refused = install(Some(folder.path())).unwrap_err();
        assert!(refused.describe().contains("left alone"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's");
        assert!(install(Some(&folder.path().join("gone"))).is_err());
    }
}
