//! `cargo xtask fuzz`: random input for what reads text from the cluster: records, YAML, manifests that are edited.
//!
//! cargo-fuzz drives libFuzzer on the stable compiler. There is no address sanitizer in it, which needs a nightly one: this
//! tool has no unsafe code of its own, and what is looked for are panics, endless loops and memory without bound.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{folders, process, screen, tools};

/// Seconds that one input may take.
const INPUT_SECONDS: u32 = 10;
/// Memory that one process may have, in MiB: a record unpacks to 64 at most, and its JSON is several times that.
const MEMORY: u32 = 1024;

/// From how many seconds on code that runs faster is worth twice the time that it takes to compile.
const LONG_RUN: u32 = 300;

/// The longest input in bytes: room for nesting, and small enough to be tried often.
const LONGEST_INPUT: u32 = 8192;

#[derive(Args)]
pub struct FuzzArguments {
    /// The target, a file of `fuzz/fuzz_targets` without its ending; all of them without a name
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Run the target with this file only, for instance with a finding
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
}

/// Runs one target or all; an error when any input breaks it.
pub fn run(arguments: &FuzzArguments) -> Result<()> {
    let all = targets()?;
    let chosen = match &arguments.target {
        None => all,
        Some(target) if all.contains(target) => vec![target.clone()],
        Some(target) => bail!("there is no target {target}; there are {}", all.join(", ")),
    };
    let program = tools::ensure_cargo_fuzz()?;
    let folder = folders::cache()?.join("fuzz");
    // One build for all of them, so that the time of the first is its own.
    let started = Instant::now();
    let mut build = cargo_fuzz(&program, "build", arguments.seconds);
    succeed(&mut build)?;
    screen::say(&format!("fuzz targets are built ({})", screen::duration(started.elapsed())));
    let mut broken = Vec::new();
    for target in &chosen {
        let corpus = folder.join("corpus").join(target);
        let findings = folder.join("findings");
        for folder in [&corpus, &findings] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let mut command = cargo_fuzz(&program, "run", arguments.seconds);
        command.arg(target);
        if let Some(input) = &arguments.input {
            command.arg(input.canonicalize().with_context(|| format!("cannot read {}", input.display()))?);
        } else {
            // New inputs go into the first folder, outside of the tree; the second is only read.
            command.arg(&corpus).arg(folders::repository().join("fuzz/seeds").join(target));
        }
        command.arg("--").arg(format!("-timeout={INPUT_SECONDS}")).arg(format!("-rss_limit_mb={MEMORY}"));
        command.arg(format!("-artifact_prefix={}/{target}-", findings.display()));
        if arguments.input.is_none() {
            command
                .arg(format!("-max_total_time={}", arguments.seconds))
                .arg(format!("-max_len={LONGEST_INPUT}"));
            command.args(["-print_final_stats=1", "-verbosity=0"]);
        }
        screen::say(&format!("== {target}"));
        if let Err(error) = succeed(&mut command) {
            screen::say(&format!("error: {error:#}"));
            broken.push(target.as_str());
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!(
        "input that breaks {} was found; it is in {}: cargo xtask fuzz TARGET --input FILE",
        broken.join(", "),
        folder.join("findings").display()
    )
}

fn cargo_fuzz(program: &Path, verb: &str, seconds: u32) -> Command {
    let mut command = Command::new(program);
    let target_folder = folders::repository().join("target/fuzz");
    // Many units, because most of what is compiled here never runs: compiling is what takes the time.
    command.args([verb, "--sanitizer", "none", "--codegen-units", "16", "--target-dir"]).arg(target_folder);
    command.current_dir(folders::repository());
    if seconds >= LONG_RUN {
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    }
    // What cargo sets for this program speaks of the wrong crate.
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_PKG_NAME").env_remove("RUSTFLAGS");
    command
}

fn succeed(command: &mut Command) -> Result<()> {
    let described = process::describe(command);
    let status = command.status().with_context(|| format!("cannot start {described}"))?;
    if !status.success() {
        bail!("{described} failed ({status})");
    }
    Ok(())
}

/// The names of the targets.
fn targets() -> Result<Vec<String>> {
    let folder = folders::repository().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let (true, Some(name)) =
            (path.extension().is_some_and(|extension| extension == "rs"), path.file_stem())
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
