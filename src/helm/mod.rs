//! Helm's release records, read and written as Helm reads and writes them.
//!
//! Discovery reads them to learn what was deployed when; `reconcile` computes what they must say after an
//! emergency; the executor writes them. Everything here is pure except [`storage`], which is the only place that
//! changes a record in the cluster.

pub mod codec;
pub mod containers;
pub mod edit;
#[cfg(test)]
mod edit_tests;
pub mod error;
pub mod history;
pub mod hooks;
#[cfg(test)]
mod hooks_tests;
pub mod manifest;
pub mod meta;
pub mod record;
pub mod scalar;
pub mod status;
pub mod storage;
#[cfg(test)]
mod storage_tests;
pub mod values;
pub mod yaml;
#[cfg(test)]
mod yaml_tests;
