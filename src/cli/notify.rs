//! Arguments of `notify`.

use clap::Args;

use super::GoDuration;
use crate::config::MessageKind;
use crate::notify::IncidentStatus;
use crate::notify::format::MessageFormat;

/// Write the message that a rollback has begun, goes on, or is over
///
/// The facts come from the journal of the last operation and from Helm's records; flags add what only people know. Nothing
/// is sent without --send, and then only to the webhooks of the configuration.
#[derive(Debug, Clone, Args)]
pub struct NotifyArgs {
    /// Which message
    #[arg(value_enum, value_name = "MESSAGE")]
    pub kind: MessageKind,
    /// Name of the release; may be left out when the namespace holds one
    #[arg(value_name = "RELEASE")]
    pub release: Option<String>,
    /// What was running, in place of what the records say
    #[arg(long, value_name = "TEXT")]
    pub from: Option<String>,
    /// What is gone back to, in place of what the records say
    #[arg(long, value_name = "TEXT")]
    pub to: Option<String>,
    /// Which services are affected
    #[arg(long, value_name = "TEXT")]
    pub impact: Option<String>,
    /// When it will be over
    #[arg(long, value_name = "TEXT")]
    pub eta: Option<String>,
    /// How long it took, in place of what the records say
    #[arg(long, value_name = "DURATION")]
    pub duration: Option<GoDuration>,
    /// What is known about the health of the services
    #[arg(long, value_name = "TEXT")]
    pub health: Option<String>,
    /// What follows: a postmortem, a fix
    #[arg(long, value_name = "TEXT")]
    pub next_steps: Option<String>,
    /// Status in the words of status pages; without it identified, and for complete monitoring
    #[arg(long, value_enum)]
    pub status: Option<IncidentStatus>,
    /// How the message is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: MessageFormat,
    /// Post it to the webhooks of the configuration
    #[arg(long)]
    pub send: bool,
}
