//! Watches the pods of the namespace beside a run, so that what happened in between can be judged afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Cluster, is_pod_ready};

/// The pods at one moment.
pub struct Sample {
    /// Before the list was asked for.
    pub at: Timestamp,
    /// The pods, terminating ones included.
    pub pods: Vec<Value>,
}

impl Sample {
    /// Pods of a workload (by `app.kubernetes.io/name`) that serve: Ready and not on their way out.
    pub fn serving(&self, name: &str) -> usize {
        let pods = self.pods.iter().filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == name);
        pods.filter(|pod| is_pod_ready(pod)).count()
    }
}

/// A thread that takes samples until it is stopped.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    pub fn start(cluster: &Cluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, cluster) = (stop.clone(), cluster.another());
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                samples.push(Sample { at: Timestamp::now(), pods: cluster.list("pods") });
                std::thread::sleep(Duration::from_millis(100));
            }
            samples
        });
        Self { stop, thread }
    }

    /// Stops it and answers what it saw.
    pub fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
