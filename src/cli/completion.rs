//! Arguments of `completion`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

/// Print a completion script for a shell, or let kubectl complete what stands behind kubectl rollback
///
/// A script completes kubectl-rollback. With install, kubectl's own completion asks for what may come behind kubectl
/// rollback: it runs the program kubectl_complete-rollback, which is written beside this one, or into --dir.
#[derive(Debug, Clone, Args)]
pub struct CompletionArgs {
    /// The shell, or install
    #[arg(value_enum, value_name = "SHELL | install")]
    pub target: CompletionTarget,
    /// Folder on the PATH that kubectl_complete-rollback is written into
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,
}

/// For whom the completion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompletionTarget {
    /// Print the script for Bash
    Bash,
    /// Print the script for Elvish
    Elvish,
    /// Print the script for Fish
    Fish,
    /// Print the script for PowerShell
    #[value(name = "powershell")]
    PowerShell,
    /// Print the script for Zsh
    Zsh,
    /// Write the program that kubectl asks
    Install,
}

impl CompletionTarget {
    /// The shell; nothing for kubectl.
    pub fn shell(self) -> Option<Shell> {
        match self {
            Self::Bash => Some(Shell::Bash),
            Self::Elvish => Some(Shell::Elvish),
            Self::Fish => Some(Shell::Fish),
            Self::PowerShell => Some(Shell::PowerShell),
            Self::Zsh => Some(Shell::Zsh),
            Self::Install => None,
        }
    }
}
