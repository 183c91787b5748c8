//! Container images and the registries that hold them.

mod challenge;
pub mod client;
pub mod credentials;
pub mod docker_config;
mod exchange;
pub mod location;
pub mod pull_secrets;
pub mod reference;
pub mod settings;

pub use client::{ManifestInfo, Platform, Problem, Registry, TagList};
pub use credentials::Keyring;
pub use location::Location;
pub use reference::ImageReference;
pub use settings::{Mirror, Settings, is_loopback};
