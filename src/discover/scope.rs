//! What the operator spoke of: a release, or workloads without one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cli::WorkloadSelector;

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// A release; `None` means the only one in the namespace.
    Release(Option<String>),
    /// Workloads named one by one.
    Workloads(Vec<WorkloadSelector>),
    /// Workloads by label selector.
    Selector(String),
}

impl Scope {
    /// The release's name, where one was given.
    pub fn release(&self) -> Option<&str> {
        match self {
            Self::Release(name) => name.as_deref(),
            Self::Workloads(_) | Self::Selector(_) => None,
        }
    }

    /// Reads the positional arguments and `-l` of a command.
    pub fn read(subjects: &[String], selector: Option<&str>) -> Result<Self, String> {
        if let Some(selector) = selector {
            return Ok(Self::Selector(selector.to_owned()));
        }
        match subjects {
            [] => Ok(Self::Release(None)),
            subjects if subjects.iter().all(|subject| subject.contains('/')) => {
                let workloads: Result<Vec<WorkloadSelector>, String> =
                    subjects.iter().map(|subject| subject.parse()).collect();
                Ok(Self::Workloads(workloads?))
            }
            [release] => {
                check_release_name(release)?;
                Ok(Self::Release(Some(release.clone())))
            }
            _ => Err("give one RELEASE, or workloads as KIND/NAME, not a mixture".to_owned()),
        }
    }
}

impl fmt::Display for Scope {
    /// As it stands on a command line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(name) => formatter.write_str(name.as_deref().unwrap_or_default()),
            Self::Workloads(workloads) => {
                let names: Vec<String> = workloads.iter().map(ToString::to_string).collect();
                formatter.write_str(&names.join(" "))
            }
            Self::Selector(selector) => write!(formatter, "-l {selector}"),
        }
    }
}

/// Helm's rule for release names: at most 53 characters, DNS labels joined by dots.
pub fn check_release_name(name: &str) -> Result<(), String> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if name.len() <= 53 && name.split('.').all(label) {
        Ok(())
    } else {
        Err(format!(
            "{name:?} is not a release name: at most 53 of a-z, 0-9, '-' and '.', starting and ending with a letter or digit"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_a_release_or_workloads() {
        let read = |subjects: &[&str]| {
            let subjects: Vec<String> = subjects.iter().map(|&subject| subject.to_owned()).collect();
            Scope::read(&subjects, None)
        };
        assert_eq!(read(&[]), Ok(Scope::Release(None)));
        assert_eq!(read(&["todo-app"]), Ok(Scope::Release(Some("todo-app".into()))));
        assert!(
            matches!(read(&["deploy/a", "sts/b"]), Ok(Scope::Workloads(workloads)) if workloads.len() == 2)
        );
        for wrong in [&["a", "b"][..], &["a", "deploy/b"], &["Todo"], &["pod/x"], &["-a"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(Scope::read(&[], Some("app=web")), Ok(Scope::Selector("app=web".into())));
    }
}
