//! What an error of the API server means to whoever creates or deletes: whether to try again, and in which words it is told.

use kube::Error;

use crate::wait::redaction::redact;

/// Whether trying again can help.
pub(super) fn is_transient(error: &Error) -> bool {
    match error {
        Error::Api(status) => {
            matches!(status.code, 408 | 429)
                || status.code >= 500
                // Two writers of one quota: the loser has to ask again.
                || (status.code == 409 && status.message.contains("resourcequotas"))
        }
        _ => true,
    }
}

/// What the API server said, without credentials.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Api(status) => redact(&status.message),
        error => redact(&error.to_string()),
    }
}
