//! The words in which Helm says how a revision fares and how it is applied.

use std::fmt;

/// The status of a revision, in Helm's words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Status {
    /// `unknown`: Helm itself does not know.
    Unknown,
    /// `deployed`: what runs, as far as Helm knows.
    Deployed,
    /// `uninstalled`, its history kept.
    Uninstalled,
    /// `superseded`: a later revision took over.
    Superseded,
    /// `failed`.
    Failed,
    /// `uninstalling`.
    Uninstalling,
    /// `pending-install`.
    PendingInstall,
    /// `pending-upgrade`.
    PendingUpgrade,
    /// `pending-rollback`.
    PendingRollback,
    /// A text that this version does not know, kept as it is.
    Other(String),
}

impl Status {
    /// The text as Helm stores it, in the body and in the `status` label.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown => "unknown",
            Self::Deployed => "deployed",
            Self::Uninstalled => "uninstalled",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Uninstalling => "uninstalling",
            Self::PendingInstall => "pending-install",
            Self::PendingUpgrade => "pending-upgrade",
            Self::PendingRollback => "pending-rollback",
            Self::Other(text) => text,
        }
    }

    /// Whether an operation is under way, or died under way: Helm refuses to upgrade over it.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback)
    }
}

impl From<&str> for Status {
    fn from(text: &str) -> Self {
        match text {
            "unknown" => Self::Unknown,
            "deployed" => Self::Deployed,
            "uninstalled" => Self::Uninstalled,
            "superseded" => Self::Superseded,
            "failed" => Self::Failed,
            "uninstalling" => Self::Uninstalling,
            "pending-install" => Self::PendingInstall,
            "pending-upgrade" => Self::PendingUpgrade,
            "pending-rollback" => Self::PendingRollback,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl serde::Serialize for Status {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How Helm writes the objects of a revision (`apply_method`, Helm 4 only).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyMethod {
    /// `ssa`: server-side apply.
    ServerSide,
    /// `csa`, empty or missing: three-way patches computed by the client.
    ClientSide,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_keep_their_text() {
        for text in [
            "unknown",
            "deployed",
            "uninstalled",
            "superseded",
            "failed",
            "uninstalling",
            "pending-install",
            "pending-upgrade",
            "pending-rollback",
            "invented-later",
        ] {
            let status = Status::from(text);
            assert_eq!(status.as_str(), text);
            assert_eq!(status.is_pending(), text.starts_with("pending-"));
            assert_eq!(matches!(status, Status::Other(_)), text == "invented-later");
        }
    }
}
