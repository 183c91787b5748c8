//! Arguments of `list`.

use clap::Args;
use regex::Regex;

/// List the releases of a namespace
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct ListArgs {
    /// Releases of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Every status; this is the default, and accepted for those who know it from Helm 3
    #[arg(short, long)]
    pub all: bool,
    /// Releases whose newest revision is deployed (status filters add up)
    #[arg(long)]
    pub deployed: bool,
    /// Releases whose newest revision failed
    #[arg(long)]
    pub failed: bool,
    /// Releases whose newest revision is pending: an operation is under way, or died
    #[arg(long)]
    pub pending: bool,
    /// Alone: every superseded revision
    #[arg(long)]
    pub superseded: bool,
    /// Releases that were uninstalled with their history kept
    #[arg(long)]
    pub uninstalled: bool,
    /// Releases that are being uninstalled
    #[arg(long)]
    pub uninstalling: bool,
    /// Releases whose name matches a regular expression
    #[arg(short, long, value_name = "REGEX")]
    pub filter: Option<Regex>,
    /// Releases by the labels of their newest record
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Sort by date, oldest first, in place of name
    #[arg(short, long)]
    pub date: bool,
    /// Reverse the order
    #[arg(short, long)]
    pub reverse: bool,
    /// Most releases to list; 0 means all
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max: usize,
    /// Releases to leave out at the start of the list
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub offset: usize,
    /// Print names only; so does --quiet
    #[arg(long)]
    pub short: bool,
    /// Print no header
    #[arg(long)]
    pub no_headers: bool,
}
