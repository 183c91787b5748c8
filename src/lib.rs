//! `kubectl-rollback`: what an on-call engineer reaches for when a deploy has broken production.
//!
//! The procedure is visible in the module names:
//!
//! ```text
//! Cli ─▶ Request ─▶ Context ─▶ discover ─▶ Snapshot ─▶ plan ─▶ Plan ─▶ preflight ─▶ confirm
//!     ─▶ execute ══ Event ══▶ { screen · jsonl · result }  ─▶ Outcome ─▶ exit code
//! ```
//!
//! Discovery reads the cluster into a [`discover::Snapshot`]; [`plan`] is pure; [`preflight`] asks the
//! server without persisting anything; only [`execute`] and [`helm::storage`] write. Everything
//! that is reported is an [`event::Event`]; the screen and the machine-readable outputs are consumers of
//! that one stream.

pub mod ci;
pub mod cli;
pub mod commands;
pub mod config;
pub mod context;
pub mod database;
pub mod discover;
pub mod event;
pub mod execute;
pub mod helm;
pub mod journal;
pub mod notify;
pub mod outcome;
pub mod plan;
pub mod preflight;
pub mod reconcile;
pub mod registry;
pub mod report;
pub mod ui;
pub mod verify;
pub mod wait;
pub mod web;
pub mod words;
pub mod workload;
