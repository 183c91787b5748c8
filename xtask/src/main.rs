//! The project's own chores, run as `cargo xtask …`: a real cluster for the tests, the tests
//! themselves, the demonstration.

mod cluster;
mod demo;
mod folders;
mod fuzz;
mod packages;
mod process;
mod screen;
mod suite;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of kubectl-rollback
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Start, inspect and stop a real Kubernetes cluster for tests
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Run everything that CI runs, on a cluster of its own
    Test(suite::TestArguments),
    /// Give random input to what reads text from the cluster
    Fuzz(fuzz::FuzzArguments),
    /// Break a release on a cluster of its own and bring it back
    Demo(demo::DemoArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Cluster(command) => cluster::run(command),
        Chore::Test(arguments) => suite::run(&arguments),
        Chore::Fuzz(arguments) => fuzz::run(&arguments),
        Chore::Demo(arguments) => demo::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
