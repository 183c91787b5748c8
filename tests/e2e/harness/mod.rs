//! What every test stands on: a cluster, a namespace of its own, the program, the sample platform.

mod cluster;
mod helm;
mod killer;
mod objects;
mod plain;
mod platform;
mod program;
mod proxy;
mod recorder;
mod sampler;
mod state;
mod terminal;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

pub use cluster::{Cluster, text};
pub use helm::Helm;
pub use killer::Killer;
pub use objects::{content, owned, owners};
pub use plain::{deployment, stateful_set};
pub use platform::{INFRASTRUCTURE, Release, SERVICES, all_tags, broken_tags, chart, merge, random_tag};
pub use program::{Run, Running};
pub use proxy::Proxy;
pub use recorder::{Recorder, Verdict, is_write};
pub use sampler::{Sample, Sampler};
pub use state::{WorkloadState, images_in, is_pod_ready};
pub use terminal::Shell;

/// Tests that work at the same time, so that a small machine is not drowned.
const AT_ONCE: u32 = 5;

/// One test with a namespace of its own, which goes away with it.
pub struct Test {
    /// The cluster, with the test's namespace as the default.
    pub cluster: Cluster,
    permit: Option<Permit>,
}

impl Test {
    /// Begins a test; `None` where there is no cluster, which is said on stderr.
    pub fn begin() -> Option<Self> {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("test").to_owned();
        // The last part of the path is the test's own name.
        Self::named(name.rsplit("::").next().unwrap_or("test"))
    }

    /// Begins a test under a name of its own.
    pub fn named(name: &str) -> Option<Self> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let kubeconfig = variable("KUBECTL_ROLLBACK_TEST_KUBECONFIG");
        let tools = variable("KUBECTL_ROLLBACK_TEST_TOOLS");
        let (Some(kubeconfig), Some(tools)) = (kubeconfig, tools) else {
            say(&format!("{name}: skipped, it needs a cluster: run cargo xtask test"));
            return None;
        };
        let permit = Permit::take();
        // A namespace has at most 63 characters, and a test may have several that end differently.
        let own = name.replace('_', "-");
        let namespace =
            format!("e2e-{}-{}", own.chars().take(45).collect::<String>().trim_end_matches('-'), unique());
        let cluster = Cluster::connect(kubeconfig, tools, namespace.clone());
        cluster.create("namespaces", &json!({"metadata": {"name": namespace}}));
        prepare(&cluster);
        Some(Self { cluster, permit: Some(permit) })
    }

    /// Runs the program in the test's namespace with nobody at the keyboard, and waits for its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.start(arguments).finish()
    }

    /// Starts the program in the test's namespace with nobody at the keyboard.
    #[track_caller]
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&self.cluster, arguments)
    }

    /// The name of the test's namespace.
    pub fn namespace(&self) -> &str {
        &self.cluster.namespace
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        let keep = std::env::var_os("KUBECTL_ROLLBACK_TEST_KEEP").is_some() && std::thread::panicking();
        if keep {
            say(&format!("namespace {} is kept", self.namespace()));
        } else {
            self.cluster.remove_namespace();
        }
        drop(self.permit.take());
    }
}

/// Whether the long versions of tests are wanted.
pub fn is_long_run() -> bool {
    std::env::var_os("KUBECTL_ROLLBACK_TEST_ALL").is_some_and(|value| value == "1")
}

/// A line on the real stderr: the test harness would swallow what goes through `eprintln`.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Waits until `condition` answers something; fails the test with `what` after `limit`.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain for: {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// A few characters that no other test of this or another run has.
pub fn unique() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.subsec_nanos());
    let number =
        now ^ std::process::id().rotate_left(16) ^ COUNTER.fetch_add(1, Ordering::Relaxed).rotate_left(27);
    format!("{number:08x}")
}

/// What the sample platform needs of any cluster: a default `StorageClass` and the injector of sidecars.
fn prepare(cluster: &Cluster) {
    static PREPARED: Once = Once::new();
    PREPARED.call_once_force(|_| {
        let platform = platform::folder();
        let file = |name: &str| platform.join(name).display().to_string();
        let (storage, sidecar) = (file("storage-class.yaml"), file("dapr-sidecar.yaml"));
        cluster.kubectl(&["apply", "-f", &storage, "-f", &sidecar]);
        // The API server heeds a new admission policy some time later.
        wait_for("the injector of sidecars", Duration::from_secs(60), || {
            let pod = cluster.rehearse_pod(&json!({
                "metadata": {"name": "injected", "annotations": {"dapr.io/enabled": "true"}},
                "spec": {"containers": [{"name": "main", "image": "ghcr.io/acme/web:good-1"}]},
            }))?;
            images_in(&pod["spec"]).contains_key("daprd").then_some(())
        });
    });
}

/// One of the [`AT_ONCE`] places.
struct Permit;

static PLACES: (Mutex<u32>, Condvar) = (Mutex::new(AT_ONCE), Condvar::new());

impl Permit {
    fn take() -> Self {
        let free = PLACES.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = PLACES.1.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *PLACES.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        PLACES.1.notify_one();
    }
}
