//! The packages are judged by the tools that will install them: both Helms, krew, krew's validator, kubectl.
//!
//! The tools are looked for in the folder that `KUBECTL_ROLLBACK_TEST_TOOLS` names (`cargo xtask cluster
//! tools` prints it); without it these tests say that they were skipped. Every tool gets an environment of its
//! own, with all its folders in a temporary one.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use tempfile::TempDir;

const PLUGIN: &str = include_str!("../plugin.yaml");
const KREW_MANIFEST: &str = include_str!("../krew-manifest.yaml");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The folder of the real tools; says that the test is skipped where there is none.
fn tools(test: &str) -> Option<PathBuf> {
    let folder = env::var_os("KUBECTL_ROLLBACK_TEST_TOOLS").map(PathBuf::from);
    if folder.is_none() {
        let _ = writeln!(std::io::stderr(), "{test}: skipped, KUBECTL_ROLLBACK_TEST_TOOLS is not set");
    }
    folder
}

/// A command that knows nothing of this user's own settings.
fn isolated(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "KREW_ROOT"] {
        command.env(folder, home.join(folder));
    }
    command
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a command that must succeed; answers its standard output.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text_of(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Lays out what a release archive holds: the program, the plugin file, the licence.
fn plugin_folder(parent: &Path) -> PathBuf {
    let folder = parent.join("plugin");
    fs::create_dir_all(folder.join("bin")).unwrap();
    fs::write(folder.join("plugin.yaml"), PLUGIN).unwrap();
    fs::write(folder.join("LICENSE"), include_str!("../LICENSE")).unwrap();
    fs::copy(cargo_bin("kubectl-rollback"), folder.join("bin/kubectl-rollback")).unwrap();
    folder
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("the file is YAML")
}

#[test]
fn both_helms_install_and_run_the_plugin() {
    let Some(tools) = tools("both_helms_install_and_run_the_plugin") else { return };
    for helm in ["helm3", "helm4"] {
        let home = TempDir::new().unwrap();
        let plugin = plugin_folder(home.path());
        let helm = || isolated(&tools.join(helm), home.path());
        let installed = helm().args(["plugin", "install"]).arg(&plugin).output().unwrap();
        let text = text_of(&installed);
        assert!(installed.status.success(), "{text}");
        // A file that one of them only tolerates is announced with a warning.
        assert!(!text.to_lowercase().contains("warn"), "{text}");
        let listed = run(helm().args(["plugin", "list"]));
        assert!(listed.contains("saferollback") && listed.contains(VERSION), "{listed}");
        let version = run(helm().args(["saferollback", "version"]));
        assert_eq!(version.trim(), format!("kubectl-rollback {VERSION}"));
        // Arguments pass through whole, and the plugin's exit code comes back.
        let usage = helm().args(["saferollback", "emergency", "--tag"]).output().unwrap();
        assert_eq!(usage.status.code(), Some(2), "{}", text_of(&usage));
    }
}

#[test]
fn krew_accepts_the_manifest() {
    let Some(tools) = tools("krew_accepts_the_manifest") else { return };
    let home = TempDir::new().unwrap();
    // In krew's index the file is named after the plugin, and the validator insists on it.
    let manifest = home.path().join("rollback.yaml");
    fs::write(&manifest, KREW_MANIFEST).unwrap();
    let validator = tools.join("validate-krew-manifest");
    run(isolated(&validator, home.path()).args(["-skip-install", "-manifest"]).arg(&manifest));
}

#[test]
fn krew_installs_an_archive_and_kubectl_finds_it() {
    let Some(tools) = tools("krew_installs_an_archive_and_kubectl_finds_it") else { return };
    let home = TempDir::new().unwrap();
    let root = plugin_folder(home.path());
    let archive = home.path().join("kubectl-rollback.tar.gz");
    run(Command::new("tar")
        .arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(root.join("bin"))
        .arg("kubectl-rollback")
        .arg("-C")
        .arg(&root)
        .arg("LICENSE"));
    let manifest = home.path().join("rollback.yaml");
    fs::write(&manifest, KREW_MANIFEST.replace(&"0".repeat(64), &checksum(&archive))).unwrap();
    run(isolated(&tools.join("krew"), home.path())
        .arg("install")
        .arg("--manifest")
        .arg(&manifest)
        .arg("--archive")
        .arg(&archive));
    let version = kubectl_rollback_version(&tools, home.path(), &home.path().join("KREW_ROOT/bin"));
    assert_eq!(version.trim(), format!("kubectl-rollback {VERSION}"));
}

/// The SHA-256 of a file, by whichever of the usual programs there is.
fn checksum(file: &Path) -> String {
    let sum = Command::new("sha256sum")
        .arg(file)
        .output()
        .or_else(|_| Command::new("shasum").args(["-a", "256"]).arg(file).output())
        .expect("sha256sum or shasum is needed");
    text_of(&sum).split_whitespace().next().unwrap_or_default().to_owned()
}

fn kubectl_rollback_version(tools: &Path, home: &Path, folder: &Path) -> String {
    let path = env::join_paths([folder]).unwrap();
    run(isolated(&tools.join("kubectl"), home).env("PATH", path).args(["rollback", "version"]))
}

#[test]
fn kubectl_finds_the_program_on_the_path() {
    let Some(tools) = tools("kubectl_finds_the_program_on_the_path") else { return };
    let home = TempDir::new().unwrap();
    let folder = plugin_folder(home.path()).join("bin");
    let version = kubectl_rollback_version(&tools, home.path(), &folder);
    assert_eq!(version.trim(), format!("kubectl-rollback {VERSION}"));
    let listed = run(isolated(&tools.join("kubectl"), home.path())
        .env("PATH", env::join_paths([&folder]).unwrap())
        .args(["plugin", "list"]));
    assert!(listed.contains("kubectl-rollback"), "{listed}");
}

#[test]
fn every_package_has_the_version_of_the_crate() {
    assert_eq!(yaml(PLUGIN)["version"], VERSION);
    let krew = yaml(KREW_MANIFEST);
    assert_eq!(krew["spec"]["version"], format!("v{VERSION}"));
    for platform in krew["spec"]["platforms"].as_array().unwrap() {
        let uri = platform["uri"].as_str().unwrap();
        assert!(uri.contains(&format!("/v{VERSION}/kubectl-rollback_v{VERSION}_")), "{uri}");
    }
}

/// What the reviewers of krew's index ask for beyond the validator's rules.
#[test]
fn the_krew_manifest_follows_the_index_conventions() {
    let krew = yaml(KREW_MANIFEST);
    let short = krew["spec"]["shortDescription"].as_str().unwrap();
    assert!(short.chars().count() <= 50 && !short.ends_with('.'), "{short:?}");
    let description = krew["spec"]["description"].as_str().unwrap();
    for line in description.lines() {
        assert!(line.chars().count() <= 80, "{line:?}");
    }
    let mut platforms = Vec::new();
    for platform in krew["spec"]["platforms"].as_array().unwrap() {
        let labels = &platform["selector"]["matchLabels"];
        let (os, arch) = (labels["os"].as_str().unwrap(), labels["arch"].as_str().unwrap());
        let (program, archive) =
            if os == "windows" { ("kubectl-rollback.exe", ".zip") } else { ("kubectl-rollback", ".tar.gz") };
        assert_eq!(platform["bin"], program);
        assert!(platform["uri"].as_str().unwrap().ends_with(&format!("_{os}_{arch}{archive}")));
        platforms.push(format!("{os}/{arch}"));
    }
    let expected =
        ["linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"];
    assert_eq!(platforms, expected);
}
