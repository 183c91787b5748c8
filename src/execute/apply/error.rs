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
    #[error("it, its namespace or its kind does not exist")]
    Gone,
    /// Anything else.
    #[error(transparent)]
    Other(kube::Error),
}

/// How API servers say that a field cannot be changed; `updates to … are forbidden` beside these.
const UNCHANGEABLE: [&str; 6] = [
    "immutable",
    "may not change",
    "may not be changed",
    "cannot be changed",
    "cannot change",
    "can not be less than",
];

impl ApplyError {
    /// Whether the server will say the same again: trying is of no use.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Forbidden(_))
    }

    /// Whether the API server was not there, or had too much to do: trying again can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Other(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
            Self::Other(error) => !matches!(error, kube::Error::SerdeError(_) | kube::Error::BuildRequest(_)),
            Self::Refused { .. } | Self::Forbidden(_) | Self::Conflict(_) | Self::Gone => false,
        }
    }

    /// Whether it is refused because a field cannot be changed after creation: `--force-replace` does not help either,
    /// only deleting the object does.
    pub fn is_immutable(&self) -> bool {
        let says = |text: &str| {
            let text = text.to_lowercase();
            UNCHANGEABLE.iter().any(|words| text.contains(words))
                || text.contains("updates to") && text.contains("forbidden")
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
    if let Some((start, _)) = message.split_once(", got &value") {
        return start.to_owned();
    }
    let quoting = ["Invalid value: ", "Unsupported value: ", "Duplicate value: "];
    let Some((start, quote)) = quoting.iter().find_map(|quote| Some((message.find(quote)?, quote))) else {
        return message.to_owned();
    };
    let kept = &message[..start];
    let quoted = &message[start + quote.len()..];
    let reason = match (quoted.find("supported values: "), quoted.rsplit_once(": ")) {
        (Some(start), _) => &quoted[start..],
        (None, Some((_, reason))) => reason,
        (None, None) => return format!("{kept}{}", quote.trim_end_matches(": ").to_lowercase()),
    };
    format!("{kept}{reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_repeated() {
        for (message, shown) in [
            (
                "Invalid value: core.PodTemplateSpec{Env:[]core.EnvVar{Name:\"A\", Value:\"x: y\"}}: field is immutable",
                "field is immutable",
            ),
            ("Duplicate value: \"hunter2\"", "duplicate value"),
            (
                "Unsupported value: \"hunter2\": supported values: \"a\", \"b\"",
                "supported values: \"a\", \"b\"",
            ),
            (".data.a: expected string, got &value.valueUnstructured{Value:5}", ".data.a: expected string"),
            ("Required value: must be there", "Required value: must be there"),
        ] {
            assert_eq!(without_value(message), shown);
        }
    }

    #[test]
    fn what_cannot_be_changed_is_told_from_what_is_not_valid() {
        for (message, immutable) in [
            ("field is immutable", true),
            ("updates to statefulset spec for fields other than 'replicas' are forbidden", true),
            ("spec is immutable after creation except resources.requests", true),
            ("cannot change roleRef", true),
            ("may not change once set", true),
            ("field can not be less than status.capacity", true),
            ("Required value", false),
            ("may not specify more than 1 handler type", false),
        ] {
            let cause = Cause { field: "spec".into(), message: message.into() };
            let error = ApplyError::Refused { message: String::new(), causes: vec![cause] };
            assert_eq!(error.is_immutable(), immutable, "{message}");
        }
    }
}
