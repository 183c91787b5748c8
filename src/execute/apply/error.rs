//! Why an object could not be brought to its target.

/// One reason of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The field: `spec.selector`.
    pub field: String,
    /// What is wrong with it, without the value: that may be a secret.
    pub message: String,
}

/// Why an object could not be brought to its target.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The manifest itself is refused: a field that cannot be changed, or one that is not valid.
    #[error("the server refuses it: {message}")]
    Refused {
        /// The reasons in one line.
        message: String,
        /// Field by field, where the server names them.
        causes: Vec<Cause>,
    },
    /// We may not do this, or admission (quota, Pod security, a webhook) forbids it.
    #[error("it is forbidden: {0}")]
    Forbidden(String),
    /// Somebody else changed it each time that we tried.
    #[error("somebody else keeps changing it: {0}")]
    Conflict(String),
    /// The object is gone, or its namespace or kind is.
    #[error("it does not exist any more")]
    Gone,
    /// Anything else.
    #[error(transparent)]
    Other(kube::Error),
}

impl ApplyError {
    /// Whether the server will say the same again: trying is of no use.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Forbidden(_))
    }

    /// Whether the API server was not there, or had too much to do: trying again can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Other(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
            Self::Other(kube::Error::SerdeError(_) | kube::Error::BuildRequest(_)) => false,
            Self::Other(_) => true,
            Self::Refused { .. } | Self::Forbidden(_) | Self::Conflict(_) | Self::Gone => false,
        }
    }

    /// Whether it is refused because a field cannot be changed after creation: `--force-replace` does not help either,
    /// only deleting the object does.
    pub fn is_immutable(&self) -> bool {
        let says = |text: &str| {
            let text = text.to_lowercase();
            text.contains("immutable") || text.contains("updates to") && text.contains("forbidden")
        };
        match self {
            Self::Refused { message, causes } => {
                says(message) || causes.iter().any(|cause| says(&cause.message))
            }
            _ => false,
        }
    }
}

impl From<kube::Error> for ApplyError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::Other(error);
        };
        match status.code {
            // A manifest that does not fit the schema is a 500 of server-side apply.
            400 | 422 => refused(&status),
            500 if status.message.contains("typed patch object") => refused(&status),
            403 => Self::Forbidden(status.message.clone()),
            404 => Self::Gone,
            409 => Self::Conflict(status.message.clone()),
            _ => Self::Other(kube::Error::Api(status)),
        }
    }
}

fn refused(status: &kube::core::Status) -> ApplyError {
    let causes: Vec<Cause> = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .map(|cause| Cause { field: cause.field.clone(), message: without_value(&cause.message) })
        .collect();
    let listed: Vec<String> = causes
        .iter()
        .map(|cause| {
            if cause.field.is_empty() {
                cause.message.clone()
            } else {
                format!("{}: {}", cause.field, cause.message)
            }
        })
        .collect();
    let message = if listed.is_empty() { without_value(&status.message) } else { listed.join("; ") };
    ApplyError::Refused { message, causes }
}

/// A message of the API server without the value that it quotes: whole pod templates, environment included.
fn without_value(message: &str) -> String {
    let quoting = ["Invalid value: ", "Unsupported value: ", "Duplicate value: "];
    let Some((start, quote)) = quoting.iter().find_map(|quote| Some((message.find(quote)?, quote))) else {
        return message.to_owned();
    };
    let kept = &message[..start];
    let label = quote.trim_end_matches(": ");
    match message[start + quote.len()..].rsplit_once(": ") {
        Some((_, reason)) => format!("{kept}{reason}"),
        None => format!("{kept}{}", label.to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_repeated() {
        let message = "Invalid value: core.PodTemplateSpec{Env:[]core.EnvVar{Name:\"A\", Value:\"x: y\"}}: field is immutable";
        assert_eq!(without_value(message), "field is immutable");
        assert_eq!(without_value("Duplicate value: \"hunter2\""), "duplicate value");
        assert_eq!(without_value("Required value: must be there"), "Required value: must be there");
    }
}
