//! The programs that the tests need, built from source once and cached by version outside the tree.
//!
//! Every build goes into a fresh folder that is renamed into place when it is complete, under a lock
//! per tool: an interrupted build leaves nothing half-made, and two builds at once wait for each other.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{folders, screen};

/// The version of Kubernetes whose components form the cluster; the same as in `tests/cluster/go.mod`.
pub const KUBERNETES_VERSION: &str = "1.36.2";

const KWOK_VERSION: &str = "0.8.0";
const HELM_3_VERSION: &str = "3.21.4";
const HELM_4_VERSION: &str = "4.2.4";
const KREW_VERSION: &str = "0.5.0";
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// The folders and files of all built tools.
pub struct Tools {
    /// The cluster's components in one binary; the first argument picks one.
    pub components: PathBuf,
    /// The simulated kubelets.
    pub kwok: PathBuf,
    /// A folder with `helm3`, `helm4`, `kubectl`, `krew` and `validate-krew-manifest`.
    pub folder: PathBuf,
}

impl Tools {
    /// A `kubectl` of the cluster's own version.
    pub fn kubectl(&self) -> PathBuf {
        self.folder.join("kubectl")
    }
}

/// How one tool is built from source.
struct Build {
    /// Name and version, which is also its folder in the cache.
    key: String,
    /// What a person reads before a slow build.
    announcement: String,
    /// The program files that the build must leave in its folder.
    programs: &'static [&'static str],
    source: Source,
}

enum Source {
    /// `go install PACKAGE@vVERSION` of a published module.
    Published { package: &'static str, version: &'static str, link_flags: String },
    /// `cargo install NAME@VERSION` of a published crate.
    Crate { name: &'static str, version: &'static str },
    /// `go build PACKAGES` in a folder of this repository.
    Local { folder: PathBuf, packages: &'static [&'static str], link_flags: String },
}

/// Builds whatever is missing in the cache and returns where everything is.
pub fn ensure() -> Result<Tools> {
    let folders = builds()?.iter().map(Build::ensure).collect::<Result<Vec<_>>>()?;
    let [components, kwok, helm3, helm4, krew] = [0, 1, 2, 3, 4].map(|index: usize| folders[index].clone());
    let links = [
        ("kubectl", components.join("testenv")),
        ("kwok", kwok.join("kwok")),
        ("helm3", helm3.join("helm")),
        ("helm4", helm4.join("helm")),
        ("krew", krew.join("krew")),
        ("validate-krew-manifest", krew.join("validate-krew-manifest")),
    ];
    let folder = ensure_links(&programs()?, &links)?;
    Ok(Tools { components: components.join("testenv"), kwok: kwok.join("kwok"), folder })
}

/// The path of cargo-fuzz, which is built when it is missing: it is needed for `cargo xtask fuzz` only.
pub fn ensure_cargo_fuzz() -> Result<PathBuf> {
    let build = Build {
        key: format!("cargo-fuzz-{CARGO_FUZZ_VERSION}"),
        announcement: format!("building cargo-fuzz {CARGO_FUZZ_VERSION}, once, about 1 minute"),
        programs: &["bin/cargo-fuzz"],
        source: Source::Crate { name: "cargo-fuzz", version: CARGO_FUZZ_VERSION },
    };
    Ok(build.ensure()?.join("bin/cargo-fuzz"))
}

fn builds() -> Result<Vec<Build>> {
    let cluster = folders::repository().join("tests/cluster");
    let version = format!("v{KUBERNETES_VERSION}");
    let mut parts = KUBERNETES_VERSION.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // Charts look at the server's version (`kubeVersion`), and it is known only at link time.
    let kubernetes_flags = format!(
        "-X k8s.io/component-base/version.gitVersion={version} \
         -X k8s.io/component-base/version.gitMajor={major} -X k8s.io/component-base/version.gitMinor={minor} \
         -X k8s.io/client-go/pkg/version.gitVersion={version}"
    );
    let sources = ["go.mod", "go.sum", "main.go"].map(|file| cluster.join(file));
    Ok(vec![
        Build {
            key: format!("testenv-{KUBERNETES_VERSION}-{}", digest(&sources)?),
            announcement: format!(
                "building Kubernetes {KUBERNETES_VERSION} for the tests, once, about 10 minutes"
            ),
            programs: &["testenv"],
            source: Source::Local { folder: cluster.clone(), packages: &["."], link_flags: kubernetes_flags },
        },
        Build {
            key: format!("kwok-{KWOK_VERSION}"),
            announcement: format!("building kwok {KWOK_VERSION}, once, about 5 minutes"),
            programs: &["kwok"],
            source: Source::Published {
                package: "sigs.k8s.io/kwok/cmd/kwok",
                version: KWOK_VERSION,
                link_flags: String::new(),
            },
        },
        Build {
            key: format!("helm-{HELM_3_VERSION}"),
            announcement: format!("building Helm {HELM_3_VERSION}, once, about 4 minutes"),
            programs: &["helm"],
            source: Source::Published {
                package: "helm.sh/helm/v3/cmd/helm",
                version: HELM_3_VERSION,
                // As in Helm's own releases; without them `helm template` believes in an old server.
                link_flags: format!(
                    "-X helm.sh/helm/v3/internal/version.version=v{HELM_3_VERSION} \
                     -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor={major} \
                     -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={minor}"
                ),
            },
        },
        Build {
            key: format!("helm-{HELM_4_VERSION}"),
            announcement: format!("building Helm {HELM_4_VERSION}, once, about 4 minutes"),
            programs: &["helm"],
            source: Source::Published {
                package: "helm.sh/helm/v4/cmd/helm",
                version: HELM_4_VERSION,
                link_flags: format!("-X helm.sh/helm/v4/internal/version.version=v{HELM_4_VERSION}"),
            },
        },
        Build {
            key: format!("krew-{KREW_VERSION}"),
            announcement: format!("building krew {KREW_VERSION}, once, about 1 minute"),
            programs: &["krew", "validate-krew-manifest"],
            source: Source::Local {
                folder: cluster.join("krew"),
                packages: &["sigs.k8s.io/krew/cmd/krew", "sigs.k8s.io/krew/cmd/validate-krew-manifest"],
                link_flags: format!("-X sigs.k8s.io/krew/internal/version.gitTag=v{KREW_VERSION}"),
            },
        },
    ])
}

impl Build {
    fn ensure(&self) -> Result<PathBuf> {
        build_once(&self.key, &self.announcement, |folder| self.build_into(folder))
    }

    fn build_into(&self, folder: &Path) -> Result<()> {
        let (mut command, name, need) = match &self.source {
            Source::Crate { .. } => (Command::new(folders::cargo()), "cargo", ""),
            _ => (Command::new("go"), "go", " (Go 1.26 or newer is needed)"),
        };
        // Static binaries without the paths of this machine: what the cache key says is what they are.
        // GOFLAGS and GOBIN of the user's own would change or misplace the result.
        command
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-buildvcs=false")
            .env_remove("GOOS")
            .env_remove("GOARCH");
        match &self.source {
            Source::Crate { name, version } => {
                command.args(["install", "--quiet", "--locked", &format!("{name}@{version}"), "--root"]);
                command.arg(folder).current_dir(folder).env_remove("RUSTFLAGS");
            }
            Source::Published { package, version, link_flags } => {
                command.args(["install", "-trimpath", "-ldflags", &format!("-s -w {link_flags}")]);
                command.arg(format!("{package}@v{version}")).env("GOBIN", folder).current_dir(folder);
            }
            Source::Local { folder: source, packages, link_flags } => {
                command.args(["build", "-trimpath", "-ldflags", &format!("-s -w {link_flags}"), "-o"]);
                // With a folder as the target Go names the programs; a single main package in "."
                // would be named after the module instead.
                if let [program] = self.programs {
                    command.arg(folder.join(program));
                } else {
                    command.arg(format!("{}/", folder.display()));
                }
                command.args(*packages).current_dir(source);
            }
        }
        let output = command.output().with_context(|| format!("cannot start {name}{need}"))?;
        if !output.status.success() {
            bail!("{name} failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        for program in self.programs {
            if !folder.join(program).is_file() {
                bail!("{name} ended well but left no {program}");
            }
        }
        Ok(())
    }
}

/// The folder of this key in the cache, built when it is missing. `build` is given a fresh folder, which is renamed into
/// place when it is complete.
pub fn build_once(key: &str, announcement: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let programs = programs()?;
    let folder = programs.join(key);
    if folder.is_dir() {
        return Ok(folder);
    }
    let lock = File::create(programs.join(format!(".{key}.lock")))?;
    lock.lock().context("cannot lock the cache of built tools")?;
    if folder.is_dir() {
        return Ok(folder);
    }
    screen::say(announcement);
    let started = Instant::now();
    let unfinished = programs.join(format!(".{key}.{}", std::process::id()));
    fs::create_dir_all(&unfinished)?;
    if let Err(error) = build(&unfinished) {
        _ = fs::remove_dir_all(&unfinished);
        return Err(error.context(format!("cannot build {key}")));
    }
    fs::rename(&unfinished, &folder)?;
    screen::say(&format!("built {key} in {}", screen::duration(started.elapsed())));
    Ok(folder)
}

/// The folder of all that is built once.
fn programs() -> Result<PathBuf> {
    let programs = folders::cache()?.join("bin");
    fs::create_dir_all(&programs)?;
    Ok(programs)
}

/// A folder of links that is complete whenever it exists; its name follows from what it links to.
fn ensure_links(programs: &Path, links: &[(&str, PathBuf)]) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    links.hash(&mut hasher);
    let folder = programs.join(format!("tools-{:016x}", hasher.finish()));
    if folder.is_dir() {
        return Ok(folder);
    }
    let unfinished = programs.join(format!(".tools.{}", std::process::id()));
    fs::create_dir_all(&unfinished)?;
    for (name, target) in links {
        std::os::unix::fs::symlink(target, unfinished.join(name))?;
    }
    if let Err(error) = fs::rename(&unfinished, &folder) {
        fs::remove_dir_all(&unfinished)?;
        // Somebody else was faster: the same name means the same links.
        if !folder.is_dir() {
            return Err(error).with_context(|| format!("cannot create {}", folder.display()));
        }
    }
    Ok(folder)
}

fn digest(files: &[PathBuf]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        text.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}
