//! Images of real services: PostgreSQL, Redis, Prometheus, and a backend in Python with migrations by alembic
//! (`tests/cluster/image/sql`) or by Django (`tests/cluster/image/django`). They share the one large layer of [`debian`]; containerd unpacks it once, and only in a cluster
//! in which a pod asks for one of them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::debian::{self, Layer};
use super::images::{Blob, Storage, append};
use crate::folders;

/// A backend: its images differ in the application's files alone.
struct Backend {
    /// The repository below `ghcr.io/`.
    repository: &'static str,
    /// The folder below `tests/cluster/image`.
    folder: &'static str,
    /// What a container runs that is told nothing.
    entrypoint: &'static [&'static str],
    /// Tags, and the parts of the folder that lie upon each other in each.
    tags: &'static [(&'static str, &'static [&'static str])],
}

const BACKENDS: [Backend; 2] = [
    Backend {
        repository: "acme/backend-sql",
        folder: "sql",
        entrypoint: &["python3", "-m", "app.main"],
        tags: &[
            ("v1", &["common", "v1"]),
            ("v2", &["common", "v2"]),
            ("v2-crash", &["common", "v2", "crash"]),
            ("v2-half", &["common", "v2", "crash", "half"]),
        ],
    },
    Backend {
        repository: "acme/backend-django",
        folder: "django",
        entrypoint: &["python3", "serve.py"],
        tags: &[
            ("v1", &["common", "v1"]),
            ("v2", &["common", "v2"]),
            ("v2-half", &["common", "v2", "half"]),
            ("v2-oneway", &["common", "v2", "oneway"]),
        ],
    },
];

const PATH: &str = "PATH=/usr/local/bin:/usr/bin:/usr/sbin";

/// Builds the layer unless the cache has it, and writes the images into the registry of the cluster in `folder`.
pub fn add(folder: &Path) -> Result<()> {
    write(folder, &debian::ensure()?)
}

/// Writes the images where the layer is in the cache already.
pub fn write_if_built(folder: &Path) -> Result<()> {
    match debian::built()? {
        Some(layer) => write(folder, &layer),
        None => Ok(()),
    }
}

fn write(folder: &Path, layer: &Layer) -> Result<()> {
    let storage = Storage::of(folder);
    let system = storage.link_blob(&layer.path, &layer.digest, layer.size)?;
    let sources = folders::repository().join("tests/cluster/image");

    let mut archive = tar::Builder::new(Vec::new());
    let start = fs::read(sources.join("start-postgres"))?;
    append(&mut archive, tar::EntryType::Regular, "usr/local/bin/start-postgres", 0o755, &start)?;
    // Where its data is, as in the project's own image.
    append(&mut archive, tar::EntryType::Directory, "prometheus", 0o777, &[])?;
    let programs = storage.write_blob(&archive.into_inner()?)?;

    let postgres = json!({
        "Env": [PATH, "PGHOST=/tmp", "PGDATA=/var/lib/postgresql/data/pgdata"],
        "Entrypoint": ["start-postgres"],
        "User": "postgres",
        // SIGTERM would wait for the clients to go.
        "StopSignal": "SIGINT",
    });
    storage.write_image("library/postgres", "15", &postgres, &[&system, &programs])?;
    let redis = json!({
        "Env": [PATH],
        "Entrypoint": ["redis-server"],
        "Cmd": ["--protected-mode", "no", "--save", ""],
        "User": "redis",
        "WorkingDir": "/tmp",
    });
    storage.write_image("library/redis", "7", &redis, &[&system, &programs])?;
    let prometheus = json!({
        "Env": [PATH],
        "Entrypoint": ["prometheus"],
        "Cmd": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
        "User": "nobody",
        "WorkingDir": "/prometheus",
    });
    storage.write_image("prom/prometheus", "v2", &prometheus, &[&system, &programs])?;
    for backend in BACKENDS {
        for (tag, parts) in backend.tags {
            let parts: Vec<Blob> = parts
                .iter()
                .map(|part| storage.write_blob(&application(&sources.join(backend.folder).join(part))?))
                .collect::<Result<_>>()?;
            let layers: Vec<&Blob> = [&system].into_iter().chain(&parts).collect();
            storage.write_image(backend.repository, tag, &settings(&backend, tag), &layers)?;
        }
    }
    Ok(())
}

fn settings(backend: &Backend, tag: &str) -> Value {
    json!({
        "Env": [PATH, format!("VERSION={tag}"), "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"],
        "Entrypoint": backend.entrypoint,
        "User": "app",
        "WorkingDir": "/app",
    })
}

/// An archive with the files of a folder below `/app`.
fn application(folder: &Path) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    add_folder(&mut archive, folder, "app")?;
    Ok(archive.into_inner()?)
}

fn add_folder(archive: &mut tar::Builder<Vec<u8>>, folder: &Path, name: &str) -> Result<()> {
    append(archive, tar::EntryType::Directory, name, 0o755, &[])?;
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let name = format!("{name}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        // What Python leaves beside its sources.
        if path.ends_with("__pycache__") {
            continue;
        }
        if path.is_dir() {
            add_folder(archive, &path, &name)?;
        } else {
            append(archive, tar::EntryType::Regular, &name, 0o644, &fs::read(&path)?)?;
        }
    }
    Ok(())
}
