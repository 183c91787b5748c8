//! Images for real containers, written straight into the storage of a registry: no container engine,
//! no base image and no network are needed.
//!
//! The images of [`write_all`] share one layer with a static busybox and the program `service`
//! (`tests/cluster/image`), which acts out the behaviour that the image's tag stands for.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::components::Component;
use crate::folders;
use crate::process::output_of;

/// Where the registry listens inside the namespace.
pub const REGISTRY_ADDRESS: &str = "127.0.0.1:5000";
/// The image of the container that holds a pod's network.
pub const PAUSE_IMAGE: &str = "registry.test/pause:1";
/// Debian's registry.
pub const REGISTRY: &str = "/usr/bin/docker-registry";
/// A busybox that needs no libraries.
pub const BUSYBOX: &str = "/bin/busybox";

/// The behaviours that a tag can stand for; every other tag that is asked for must be added by hand.
const TAGS: [&str; 9] = ["good-1", "good-2", "good-3", "crash", "exit", "slow", "unready", "oom", "initfail"];

/// The team's own images, under `ghcr.io/acme/`, and the port that each serves.
const SERVICES: [(&str, u16); 10] = [
    ("backend", 8000),
    ("frontend", 3000),
    ("reminder-consumer", 8000),
    ("recurring-consumer", 8000),
    ("audit-consumer", 8000),
    ("notification-consumer", 8000),
    ("web", 8000),
    ("worker", 8000),
    ("agent", 8000),
    ("cleanup", 8000),
];

/// Stand-ins for the infrastructure: repository, port (0: none), tags.
const STAND_INS: [(&str, u16, &[&str]); 9] = [
    ("library/redis", 6379, &["7.2.4", "7.2.5", "7.2.6"]),
    ("redpandadata/redpanda", 9092, &["v24.1.1"]),
    ("prom/prometheus", 9090, &["v2.51.0"]),
    ("prom/node-exporter", 9100, &["v1.8.0"]),
    ("grafana/grafana", 3000, &["10.4.1"]),
    ("daprio/daprd", 3500, &["1.13.2"]),
    ("library/nginx", 80, &["1.25.4"]),
    ("library/postgres", 5432, &["16.2"]),
    ("library/busybox", 0, &["1.36.1"]),
];

/// The scripts of `tests/cluster/image` that are in every image.
const PROGRAMS: [&str; 2] = ["service", "check"];

/// The registry, serving what [`write_all`] has written.
pub fn registry(folder: &Path) -> Result<Component> {
    let configuration = json!({
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": storage(folder)}, "delete": {"enabled": true}},
        "http": {"addr": REGISTRY_ADDRESS},
    });
    let file = folder.join("registry.json");
    fs::write(&file, serde_json::to_vec_pretty(&configuration)?)?;
    let arguments = vec!["serve".to_owned(), file.display().to_string()];
    Ok(Component { name: "registry", program: PathBuf::from(REGISTRY), arguments })
}

fn storage(folder: &Path) -> PathBuf {
    folder.join("registry")
}

/// Writes the images of every service with every tag, and the stand-ins.
pub fn write_all(folder: &Path) -> Result<()> {
    let images = Images::open(folder)?;
    images.write("pause", "1", "pause", 0)?;
    for (name, port) in SERVICES {
        for tag in TAGS {
            let behaviour = if name == "cleanup" && tag.starts_with("good") { "job" } else { tag };
            images.write(&format!("acme/{name}"), tag, behaviour, port)?;
        }
    }
    for (repository, port, tags) in STAND_INS {
        for tag in tags {
            images.write(repository, tag, "good", port)?;
        }
    }
    Ok(())
}

/// Adds one image of the team's own to a running cluster: `ghcr.io/acme/backend`, `abc123d`, `crash`.
///
/// # Errors
/// When the repository is none of the team's own.
pub fn add(folder: &Path, repository: &str, tag: &str, behaviour: &str) -> Result<()> {
    let name = repository.strip_prefix("ghcr.io/acme/").unwrap_or_default();
    let (_, port) = SERVICES
        .into_iter()
        .find(|(service, _)| *service == name)
        .with_context(|| format!("{repository} is none of the platform's repositories"))?;
    Images::open(folder)?.write(&format!("acme/{name}"), tag, behaviour, port)
}

/// The storage of a registry with the layer that all images of the stand-ins share.
struct Images {
    storage: Storage,
    layer: Blob,
}

impl Images {
    fn open(folder: &Path) -> Result<Self> {
        let storage = Storage::of(folder);
        let layer = storage.write_blob(&layer()?)?;
        Ok(Self { storage, layer })
    }

    fn write(&self, repository: &str, tag: &str, behaviour: &str, port: u16) -> Result<()> {
        let mut config = json!({
            "Env": [
                "PATH=/bin",
                format!("SERVICE={repository}"),
                format!("VERSION={tag}"),
                format!("BEHAVIOUR={}", behaviour_of(behaviour)),
                format!("PORT={port}"),
            ],
            "Entrypoint": ["/bin/service"],
        });
        if repository == "library/busybox" {
            config["Entrypoint"] = Value::Null;
            config["Cmd"] = json!(["sh"]);
        }
        self.storage.write_image(repository, tag, &config, &[&self.layer])
    }
}

/// Content that is in the storage already.
pub struct Blob {
    digest: String,
    size: u64,
}

/// The storage of a registry.
pub struct Storage(PathBuf);

impl Storage {
    /// That of the cluster in `folder`.
    pub fn of(folder: &Path) -> Self {
        Self(storage(folder).join("docker/registry/v2"))
    }

    /// Writes the configuration and the manifest of one image and lets the tag point to it.
    pub fn write_image(&self, repository: &str, tag: &str, config: &Value, layers: &[&Blob]) -> Result<()> {
        let digests: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let configuration = json!({
            "architecture": match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": digests},
        });
        let configuration = self.write_blob(&serde_json::to_vec(&configuration)?)?;
        let described = |layer: &&Blob| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer.digest, "size": layer.size,
            })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": configuration.digest, "size": configuration.size,
            },
            "layers": layers.iter().map(described).collect::<Vec<_>>(),
        });
        let manifest = self.write_blob(&serde_json::to_vec(&manifest)?)?;

        let repository = self.0.join("repositories").join(repository);
        let path_of = |digest: &str| digest.replace(':', "/");
        for blob in layers.iter().copied().chain([&configuration]) {
            write_link(&repository.join("_layers").join(path_of(&blob.digest)), &blob.digest)?;
        }
        let manifests = repository.join("_manifests");
        let tag = manifests.join("tags").join(tag);
        let path = path_of(&manifest.digest);
        write_link(&manifests.join("revisions").join(&path), &manifest.digest)?;
        write_link(&tag.join("index").join(&path), &manifest.digest)?;
        write_link(&tag.join("current"), &manifest.digest)
    }

    pub fn write_blob(&self, content: &[u8]) -> Result<Blob> {
        let hash = hexadecimal(ring::digest::digest(&ring::digest::SHA256, content).as_ref())?;
        fs::write(self.place_of(&hash)?, content)?;
        Ok(Blob { digest: format!("sha256:{hash}"), size: u64::try_from(content.len())? })
    }

    /// Takes a file that is elsewhere by another name of it, where the file system allows that: nothing is copied.
    pub fn link_blob(&self, file: &Path, digest: &str, size: u64) -> Result<Blob> {
        let place = self.place_of(digest.trim_start_matches("sha256:"))?;
        if !place.exists() && fs::hard_link(file, &place).is_err() {
            fs::copy(file, &place)?;
        }
        Ok(Blob { digest: digest.to_owned(), size })
    }

    fn place_of(&self, hash: &str) -> Result<PathBuf> {
        let folder = self.0.join("blobs/sha256").join(&hash[..2]).join(hash);
        fs::create_dir_all(&folder)?;
        Ok(folder.join("data"))
    }
}

/// Bytes as two digits each.
pub fn hexadecimal(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

/// `crash-2` and `crash.7` behave like `crash`.
fn behaviour_of(tag: &str) -> &str {
    tag.split(['-', '.']).next().unwrap_or(tag)
}

fn write_link(folder: &Path, digest: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join("link"), digest)?)
}

/// A tar archive with busybox under all its names, the service, and the log lines of the behaviours.
fn layer() -> Result<Vec<u8>> {
    let cluster = folders::repository().join("tests/cluster");
    let applets = output_of(std::process::Command::new(BUSYBOX).arg("--list"))?;
    let applets: BTreeSet<&str> = applets.lines().filter(|applet| *applet != "busybox").collect();
    ensure!(applets.contains("httpd"), "{BUSYBOX} has no httpd; install busybox-static");

    let mut archive = tar::Builder::new(Vec::new());
    for folder in ["bin", "etc", "logs", "tmp"] {
        append(&mut archive, tar::EntryType::Directory, folder, 0o755, &[])?;
    }
    append(&mut archive, tar::EntryType::Regular, "bin/busybox", 0o755, &fs::read(BUSYBOX)?)?;
    for applet in applets {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    append(&mut archive, tar::EntryType::Regular, "etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n")?;
    for program in PROGRAMS {
        let text = fs::read(cluster.join("image").join(program))?;
        append(&mut archive, tar::EntryType::Regular, &format!("bin/{program}"), 0o755, &text)?;
    }
    for entry in fs::read_dir(cluster.join("logs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            append(&mut archive, tar::EntryType::Regular, &format!("logs/{name}"), 0o644, &fs::read(&path)?)?;
        }
    }
    Ok(archive.into_inner()?)
}

pub fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    path: &str,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    let mut header = header(kind, mode, u64::try_from(content.len())?);
    Ok(archive.append_data(&mut header, path, content)?)
}

/// Without times and owners: the same content has the same digest.
fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_of_tags_say_nothing() {
        assert_eq!(behaviour_of("crash-2"), "crash");
        assert_eq!(behaviour_of("slow.7"), "slow");
        assert_eq!(behaviour_of("good-1"), "good");
        assert_eq!(behaviour_of("job"), "job");
    }

    #[test]
    fn content_is_stored_under_its_digest() {
        let storage = std::env::temp_dir().join(format!("xtask-images-{}", std::process::id()));
        let blob = Storage(storage.clone()).write_blob(b"abc").unwrap();
        // The example of FIPS 180-2, B.1.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(blob.digest, format!("sha256:{digest}"));
        let stored = fs::read(storage.join("blobs/sha256/ba").join(digest).join("data")).unwrap();
        fs::remove_dir_all(&storage).unwrap();
        assert_eq!(stored, b"abc");
    }
}
