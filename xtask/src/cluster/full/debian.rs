//! The layer with the real services: PostgreSQL, Redis, Prometheus, and Python with alembic and Django, out of Debian's packages.
//!
//! apt picks and downloads them as the machine's own settings say, as if nothing were installed yet; they are unpacked
//! and never installed, so that no maintainer's script runs. Built once, outside of any cluster, and kept in the cache.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::images::hexadecimal;
use crate::packages::with_lists;
use crate::process::output_of;
use crate::{folders, tools};

/// What the services need; apt adds what these depend on.
const PACKAGES: [&str; 12] = [
    "postgresql",
    "redis-server",
    "prometheus",
    "python3",
    "alembic",
    "python3-django",
    "python3-psycopg2",
    "python3-redis",
    "dash",
    "coreutils",
    "grep",
    "sed",
];

/// Dependencies that nothing of it uses when it runs, by the beginnings of their names: pages of documentation, the just-in-time
/// compiler of PostgreSQL, which is missed by nobody, and what installs.
const LEFT_OUT: [&str; 14] = [
    "debconf_",
    "dpkg_",
    "fonts-",
    "javascript-common_",
    "libjs-",
    "libllvm",
    "libperl",
    "libz3-",
    "locales_",
    "node-",
    "perl",
    "postgresql-common_",
    "ucf_",
    "usrmerge_",
];

/// What is in the other packages and of no use.
const REMOVED: [&str; 12] = [
    "usr/bin/promtool",
    "usr/bin/redis-benchmark",
    "usr/share/bug",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/i18n",
    "usr/share/info",
    "usr/share/javascript",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
];

/// Folders that are links into `usr` today and that some packages still have files in.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Who runs the services; the packages' scripts would have created them.
const USERS: &str = "root:x:0:0:root:/:/bin/sh\n\
    app:x:1000:1000:app:/app:/bin/sh\n\
    postgres:x:999:999:postgres:/var/lib/postgresql:/bin/sh\n\
    redis:x:998:998:redis:/var/lib/redis:/bin/sh\n\
    nobody:x:65534:65534:nobody:/:/bin/sh\n";
const GROUPS: &str = "root:x:0:\napp:x:1000:\npostgres:x:999:\nredis:x:998:\nnogroup:x:65534:\n";

/// The finished layer.
pub struct Layer {
    /// An uncompressed tar archive.
    pub path: PathBuf,
    /// `sha256:…`
    pub digest: String,
    pub size: u64,
}

/// Whether this machine can build the layer.
pub fn is_possible() -> bool {
    let has = |program: &str| Path::new(program).exists();
    rustix::process::geteuid().is_root() && has("/usr/bin/apt-get") && has("/usr/bin/dpkg-deb")
}

/// Builds the layer unless the cache has it.
pub fn ensure() -> Result<Layer> {
    let announcement =
        "building the layer of the real services from Debian's packages, once, about half a minute";
    tools::build_once(&key()?, announcement, build)?;
    built()?.context("the layer was built and is not there")
}

/// The layer of the cache, if it is there.
pub fn built() -> Result<Option<Layer>> {
    let folder = folders::cache()?.join("bin").join(key()?);
    if !folder.is_dir() {
        return Ok(None);
    }
    let path = folder.join("layer.tar");
    let digest = fs::read_to_string(folder.join("digest"))?;
    let size = fs::metadata(&path)?.len();
    Ok(Some(Layer { path, digest, size }))
}

/// The system whose packages it holds, and this file, which is the recipe.
fn key() -> Result<String> {
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let line = system.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let recipe = ring::digest::digest(&ring::digest::SHA256, include_bytes!("debian.rs"));
    let recipe = &hexadecimal(recipe.as_ref())?[..16];
    Ok(format!("services-{}{}-{}-{recipe}", field("ID="), field("VERSION_ID="), std::env::consts::ARCH))
}

fn build(folder: &Path) -> Result<()> {
    let packages = folder.join("packages");
    let root = folder.join("root");
    download(&packages)?;
    unpack(&packages, &root)?;
    complete(&root)?;
    let layer = folder.join("layer.tar");
    let mut tar = Command::new("tar");
    // Without times and owners: the same packages give the same layer.
    tar.args([
        "--create",
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--file",
    ]);
    output_of(tar.arg(&layer).arg("--directory").arg(&root).arg("."))?;
    fs::write(folder.join("digest"), format!("sha256:{}", digest_of(&layer)?))?;
    fs::remove_dir_all(&packages)?;
    Ok(fs::remove_dir_all(&root)?)
}

/// Everything that a system without any package would need for them.
fn download(packages: &Path) -> Result<()> {
    fs::create_dir_all(packages.join("partial"))?;
    let nothing = packages.join("status");
    fs::write(&nothing, "")?;
    with_lists(|| {
        let mut command = Command::new("apt-get");
        command.arg("--option").arg(format!("Dir::State::status={}", nothing.display()));
        command.arg("--option").arg(format!("Dir::Cache::archives={}", packages.display()));
        // What apt remembers of the machine's own packages stays as it is.
        command.args(["--option", "Dir::Cache::pkgcache=", "--option", "Dir::Cache::srcpkgcache="]);
        // Its own user could not write here; the signatures are checked all the same. And the system is not changed:
        // there is nothing to be locked.
        command.args(["--option", "APT::Sandbox::User=root", "--option", "Debug::NoLocking=true"]);
        command.args(["--yes", "--download-only", "--no-install-recommends", "install"]).args(PACKAGES);
        output_of(command.env("DEBIAN_FRONTEND", "noninteractive"))
    })
    .context("the packages of the real services cannot be downloaded")
    .map(|_| ())
}

fn unpack(packages: &Path, root: &Path) -> Result<()> {
    for folder in MERGED {
        fs::create_dir_all(root.join("usr").join(folder))?;
        symlink(format!("usr/{folder}"), root.join(folder))?;
    }
    for entry in fs::read_dir(packages)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_wanted = !LEFT_OUT.iter().any(|start| name.starts_with(start));
        if is_wanted && path.extension().is_some_and(|extension| extension == "deb") {
            unpack_one(&path, root).with_context(|| format!("cannot unpack {name}"))?;
        }
    }
    for path in REMOVED.map(|path| root.join(path)) {
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else if path.exists() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// `dpkg-deb --extract` would put a folder in the place of a link to one.
fn unpack_one(package: &Path, root: &Path) -> Result<()> {
    let mut reader =
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let content = reader.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--keep-directory-symlink", "--directory"]).arg(root).stdin(content);
    let unpacked = output_of(&mut tar);
    ensure!(reader.wait()?.success(), "dpkg-deb cannot read it");
    unpacked.map(|_| ())
}

/// What the packages' own scripts would do, as far as it is needed.
fn complete(root: &Path) -> Result<()> {
    fs::write(root.join("etc/passwd"), USERS)?;
    fs::write(root.join("etc/group"), GROUPS)?;
    let temporary = root.join("tmp");
    fs::create_dir_all(&temporary)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777))?;
    symlink("python3", root.join("usr/bin/python"))?;
    // PostgreSQL's programs under a path without its version, as clients find them in an image of its own.
    let versions = root.join("usr/lib/postgresql");
    let version = only_entry(&versions)?;
    let programs = versions.join(&version).join("bin");
    for entry in fs::read_dir(&programs)? {
        let name = entry?.file_name();
        let link = root.join("usr/local/bin").join(&name);
        fs::create_dir_all(root.join("usr/local/bin"))?;
        symlink(Path::new("/usr/lib/postgresql").join(&version).join("bin").join(&name), link)?;
    }
    for leftover in ["lib/bitcode", "lib/llvmjit.so", "lib/llvmjit_types.bc"] {
        let path = versions.join(&version).join(leftover);
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else if path.exists() {
            fs::remove_file(&path)?;
        }
    }
    // Every start of Python would compile its library again: in a container nobody keeps the result.
    let mut python = Command::new("chroot");
    python.arg(root).args(["/usr/bin/python3", "-m", "compileall", "-q"]);
    python.args(["--invalidation-mode", "unchecked-hash", "/usr/lib/python3"]);
    for entry in fs::read_dir(root.join("usr/lib"))? {
        let name = entry?.file_name();
        if name.to_string_lossy().starts_with("python3.") {
            python.arg(Path::new("/usr/lib").join(name));
        }
    }
    output_of(&mut python).map(|_| ())
}

fn only_entry(folder: &Path) -> Result<std::ffi::OsString> {
    let mut entries = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    ensure!(entries.len() == 1, "{} has {} entries instead of one", folder.display(), entries.len());
    Ok(entries.remove(0).file_name())
}

fn digest_of(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return hexadecimal(context.finish().as_ref());
        }
        context.update(&buffer[..length]);
    }
}
