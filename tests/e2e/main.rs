//! End-to-end tests: the real program against a real control plane, judged by kubectl and both Helms.
//!
//! `cargo xtask test` starts the cluster and names it in `KUBECTL_ROLLBACK_TEST_KUBECONFIG` and
//! `KUBECTL_ROLLBACK_TEST_TOOLS`; without them every test says that it is skipped. `KUBECTL_ROLLBACK_TEST_ALL=1` runs
//! the long versions, `KUBECTL_ROLLBACK_TEST_KEEP=1` leaves the namespaces of failed tests behind.

mod harness;

#[path = "../documents/mod.rs"]
mod documents;

mod canary;
mod ci;
mod commands;
mod consent;
mod diagnosis;
mod failed_target;
mod faults;
mod fields;
mod guards;
mod helm_afterwards;
mod hooks;
mod images;
mod interruption;
mod kills;
mod leftovers;
mod listing;
mod long_history;
mod messages;
mod network;
mod objects;
mod operations;
mod pages;
mod preflight;
mod records;
mod repair;
mod reports;
mod restoration;
mod rollback;
mod saved_plans;
mod scale;
mod variants;
mod verify;
