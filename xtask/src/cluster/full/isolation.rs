//! What keeps a real node apart from the machine, and what it leaves when it ends.
//!
//! The supervisor runs in a private network namespace (started by `unshare`), so nothing can get out,
//! and in a private mount namespace, so mounts end with the processes. Outside of both are only control
//! groups and a few kernel settings that the kubelet writes; they are put back at the end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cluster::supervisor::mark;
use crate::process::{self, is_ours, output_of, wait_until};

/// The node's address inside its namespace.
pub const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);

/// Folders that containerd, the network plugins and the kubelet write to whatever their settings say;
/// inside the mount namespace they are empty and in memory.
const PRIVATE_FOLDERS: [&str; 3] = ["/run", "/var/lib", "/var/log"];

const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// Kernel settings outside of namespaces that the kubelet changes.
const SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Prepares the namespaces and returns a listener on the loopback of the machine, outside of them.
pub fn enter(folder: &Path) -> Result<TcpListener> {
    for private in PRIVATE_FOLDERS {
        if folder.starts_with(private) {
            bail!("mode full needs a cache folder that is not below {private}: {}", folder.display());
        }
    }
    let listener = listen_outside()?;
    for private in PRIVATE_FOLDERS {
        mount("tmpfs", private, "tmpfs", MountFlags::empty(), None)
            .with_context(|| format!("cannot mount over {private}"))?;
    }
    save_settings(folder)?;
    create_control_groups(folder)?;
    for arguments in [
        "link set lo up".to_owned(),
        "link add node0 type bridge".to_owned(),
        format!("address add {NODE_ADDRESS}/24 dev node0"),
        "link set node0 up".to_owned(),
        // No uplink: the route satisfies those who want one, and nothing can leave.
        "route add default dev node0".to_owned(),
    ] {
        output_of(Command::new("ip").args(arguments.split(' ')))?;
    }
    Ok(listener)
}

/// Listens on the loopback of the network namespace of whoever started this process.
fn listen_outside() -> Result<TcpListener> {
    let parent = rustix::process::getppid().context("the starter of the supervisor is gone")?;
    let outside = File::open(format!("/proc/{}/ns/net", parent.as_raw_pid()))?;
    // A thread of its own changes the namespace; the rest of the process stays inside.
    let listening = thread::spawn(move || -> Result<TcpListener> {
        move_into_link_name_space(outside.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
    });
    listening.join().map_err(|_| anyhow!("cannot listen outside of the namespace"))?
}

/// Hands every connection on to the same loopback port inside the namespace.
pub fn relay(listener: TcpListener, port: u16) {
    thread::spawn(move || {
        for outside in listener.incoming().flatten() {
            thread::spawn(move || connect(&outside, port));
        }
    });
}

/// Copies both directions until both are at their end.
fn connect(outside: &TcpStream, port: u16) -> io::Result<()> {
    let inside = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        _ = io::copy(&mut from, &mut to);
        _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(outside, &inside));
        copy(&inside, outside);
    });
    Ok(())
}

/// The kubelet's control group; everything that runs in a container is below it.
pub fn control_group(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    format!("kubectl-rollback-{name}")
}

/// The mounted hierarchies of control groups: one in version 2, one a controller in version 1.
fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(CONTROL_GROUPS);
    if root.join("cgroup.procs").exists() {
        return vec![root];
    }
    let entries = fs::read_dir(&root).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

fn create_control_groups(folder: &Path) -> Result<()> {
    for hierarchy in hierarchies() {
        if hierarchy.join("cgroup.subtree_control").exists() {
            // Version 2: children have only the controllers that are passed on.
            for controller in ["cpu", "cpuset", "memory", "pids", "io"] {
                _ = fs::write(hierarchy.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        let group = hierarchy.join(control_group(folder));
        fs::create_dir_all(&group).with_context(|| format!("cannot create {}", group.display()))?;
        // Version 1: a new group has no processors and no memory nodes.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read(hierarchy.join(file)) {
                _ = fs::write(group.join(file), value);
            }
        }
    }
    Ok(())
}

/// Ends the processes of all containers and the shims that watch over them.
///
/// The kubelet must have ended before, or it would start them again.
pub fn end_containers(folder: &Path) {
    for id in container_processes(folder) {
        process::kill(id);
    }
    // A shim that still runs waits for its container's processes, so that none is left a zombie.
    wait_until(Duration::from_secs(5), || container_processes(folder).is_empty());
    let shims = shims(folder);
    for id in &shims {
        process::kill(*id);
    }
    let mark = mark(folder);
    wait_until(Duration::from_secs(5), || !shims.iter().any(|id| is_ours(*id, &mark)));
}

fn container_processes(folder: &Path) -> Vec<u32> {
    let groups =
        hierarchies().into_iter().flat_map(|hierarchy| subtree(&hierarchy.join(control_group(folder))));
    let mut ids: Vec<u32> = groups
        .filter_map(|group| fs::read_to_string(group.join("cgroup.procs")).ok())
        .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Containerd's shims name the socket of their containerd, which is in the runtime folder.
fn shims(folder: &Path) -> Vec<u32> {
    let mark = mark(folder);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| is_ours(*id, "containerd-shim") && is_ours(*id, &mark))
        .collect()
}

/// The folder and all folders below it, the deepest first.
fn subtree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(subtree(&entry.path()));
        }
    }
    if folder.is_dir() {
        found.push(folder.to_path_buf());
    }
    found
}

/// Takes back what is outside of the namespaces, and every mount below the runtime folder.
///
/// # Errors
/// When something is still mounted below the folder: it must not be removed then.
pub fn clean(folder: &Path) -> Result<()> {
    restore_settings(folder);
    for hierarchy in hierarchies() {
        for group in subtree(&hierarchy.join(control_group(folder))) {
            // The kernel needs a moment to forget the last process.
            wait_until(Duration::from_secs(2), || fs::remove_dir(&group).is_ok() || !group.exists());
        }
    }
    for target in mounts_below(folder)?.into_iter().rev() {
        _ = unmount(&target, UnmountFlags::DETACH);
    }
    match mounts_below(folder)?.first() {
        Some(left) => bail!("{} is still mounted", left.display()),
        None => Ok(()),
    }
}

/// In the order in which they were mounted.
fn mounts_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    Ok(targets.filter(|target| target.starts_with(folder)).collect())
}

fn save_settings(folder: &Path) -> Result<()> {
    let current: BTreeMap<&str, String> = SETTINGS
        .into_iter()
        .filter_map(|name| Some((name, fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?)))
        .collect();
    Ok(fs::write(settings_file(folder), serde_json::to_vec(&current)?)?)
}

fn restore_settings(folder: &Path) {
    let saved: BTreeMap<String, String> = fs::read(settings_file(folder))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    for (name, value) in saved {
        _ = fs::write(Path::new("/proc/sys").join(name), value);
    }
}

fn settings_file(folder: &Path) -> PathBuf {
    folder.join("kernel-settings.json")
}
