//! What can go wrong between us and a record in the cluster.

use super::codec::{CodecError, MAXIMUM_STORED};
use super::record::RecordError;

/// What went wrong with a record in the cluster.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// `HELM_DRIVER` names a storage that is not in the cluster.
    #[error(
        "HELM_DRIVER={0} keeps releases outside of the cluster; only \"secret\" and \"configmap\" can be read here"
    )]
    Driver(String),
    /// The server does not let us.
    #[error("not allowed to {action}: {message}")]
    Forbidden {
        /// What was attempted.
        action: String,
        /// The server's words.
        message: String,
    },
    /// Somebody else wrote this revision first: a deploy or another rollback is at work.
    #[error(
        "revision {revision} of release {release:?} exists already: somebody else deploys or rolls back right now"
    )]
    Taken {
        /// The release.
        release: String,
        /// The revision that we wanted to write.
        revision: u64,
    },
    /// The record changed since it was read.
    #[error("record {record} was changed by somebody else since it was read")]
    Changed {
        /// The storage object's name.
        record: String,
    },
    /// The record is not there.
    #[error("record {record} is gone")]
    Gone {
        /// The storage object's name.
        record: String,
    },
    /// The record would not fit.
    #[error(
        "record {record} is {bytes} bytes, more than the {MAXIMUM_STORED} that Kubernetes allows in one object"
    )]
    TooLarge {
        /// The storage object's name.
        record: String,
        /// The size of the stored text.
        bytes: usize,
    },
    /// The storage object has no payload.
    #[error("record {record} has no `data.release`")]
    NoPayload {
        /// The storage object's name.
        record: String,
    },
    /// The payload does not decode.
    #[error("record {record} cannot be read: {source}")]
    Codec {
        /// The storage object's name.
        record: String,
        /// Why not.
        source: CodecError,
    },
    /// The payload is no release.
    #[error("record {record} is not a release: {source}")]
    Record {
        /// The storage object's name.
        record: String,
        /// Why not.
        source: RecordError,
    },
    /// Labels and body say different things, so Helm's own answers depend on which it looks at.
    #[error("record {record} contradicts itself: its label `{field}` says {label:?}, its body {body:?}")]
    Disagrees {
        /// The storage object's name.
        record: String,
        /// The label.
        field: &'static str,
        /// The label's value.
        label: String,
        /// The body's value.
        body: String,
    },
    /// Anything else that the server or the network answered.
    #[error("cannot {action}")]
    Api {
        /// What was attempted.
        action: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
}

impl StorageError {
    /// Whether the record is there but cannot be understood; the others are still usable.
    pub fn is_unreadable(&self) -> bool {
        matches!(
            self,
            Self::NoPayload { .. } | Self::Codec { .. } | Self::Record { .. } | Self::Disagrees { .. }
        )
    }

    /// Whether all that is wrong with the record is that label and body name different statuses.
    pub fn is_about_status(&self) -> bool {
        matches!(self, Self::Disagrees { field: "status", .. })
    }

    pub(super) fn from_answer(error: kube::Error, action: impl FnOnce() -> String, record: &str) -> Self {
        match &error {
            kube::Error::Api(status) => match status.code {
                403 => Self::Forbidden { action: action(), message: status.message.clone() },
                404 => Self::Gone { record: record.to_owned() },
                409 => Self::Changed { record: record.to_owned() },
                _ => Self::Api { action: action(), source: Box::new(error) },
            },
            _ => Self::Api { action: action(), source: Box::new(error) },
        }
    }
}
