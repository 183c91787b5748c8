//! Arguments of `verify`.

use clap::Args;

use super::Moment;

/// Check that a release is well: readiness, endpoints, declared paths, and the checks of the configuration
///
/// Changes nothing. A check that fails ends with exit code 6; what cannot be found out without configuration is told and
/// is no failure.
#[derive(Debug, Clone, Default, Args)]
pub struct VerifyArgs {
    /// Name of the release, or workloads as KIND/NAME; may be left out when the namespace holds one release
    #[arg(value_name = "RELEASE | KIND/NAME")]
    pub subjects: Vec<String>,
    /// Workloads by label selector, in place of a release
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "subjects")]
    pub selector: Option<String>,
    /// Look at logs and metrics since this time: 2h ago, or an RFC 3339 time; without it since the newest revision
    #[arg(long, value_name = "AGO | TIME")]
    pub since: Option<Moment>,
}
