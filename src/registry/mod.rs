//! Container images and the registries that hold them.

pub mod reference;

pub use reference::ImageReference;
