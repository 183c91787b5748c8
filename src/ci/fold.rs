//! A part of a job's log that can be folded away: the deploy's own output, so that what follows from it is found at once.

use jiff::Timestamp;

/// Name of the section in GitLab's log, where names must differ within a job.
const SECTION: &str = "kubectl_rollback_deploy";

/// Whose log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// GitHub's: a group begins and ends with a command on a line of its own.
    GitHub,
    /// GitLab's: a section begins and ends with a mark that a terminal would not show.
    GitLab,
}

impl Fold {
    /// Reads the environment.
    pub fn of(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let is_set = |name: &str| lookup(name).is_some();
        match (is_set("GITLAB_CI"), is_set("GITHUB_ACTIONS")) {
            (true, _) => Some(Self::GitLab),
            (false, true) => Some(Self::GitHub),
            (false, false) => None,
        }
    }

    /// The line that begins it, with its title.
    pub fn begin(self, title: &str, at: Timestamp) -> String {
        // A title of several lines would end the mark, and what controls a terminal could begin another one.
        let title: String =
            title.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect::<String>();
        match self {
            Self::GitHub => format!("::group::{}", title.replace('%', "%25")),
            Self::GitLab => {
                format!("\u{1b}[0Ksection_start:{}:{SECTION}\r\u{1b}[0K{title}", at.as_second())
            }
        }
    }

    /// The line that ends it.
    pub fn end(self, at: Timestamp) -> String {
        match self {
            Self::GitHub => "::endgroup::".to_owned(),
            Self::GitLab => format!("\u{1b}[0Ksection_end:{}:{SECTION}\r\u{1b}[0K", at.as_second()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_log_has_its_own_marks() {
        let at: Timestamp = "2026-02-07T14:00:00Z".parse().unwrap();
        let title = "helm upgrade\r\u{1b}[0K::error::100%";
        for (fold, begin, end) in [
            (Fold::GitHub, "::group::helm upgrade  [0K::error::100%25", "::endgroup::"),
            (
                Fold::GitLab,
                "\u{1b}[0Ksection_start:1770472800:kubectl_rollback_deploy\r\u{1b}[0Khelm upgrade  [0K::error::100%",
                "\u{1b}[0Ksection_end:1770472800:kubectl_rollback_deploy\r\u{1b}[0K",
            ),
        ] {
            assert_eq!((fold.begin(title, at), fold.end(at)), (begin.to_owned(), end.to_owned()));
        }
    }

    #[test]
    fn only_a_pipeline_folds() {
        let among = |names: &'static [&str]| {
            Fold::of(move |name: &str| names.contains(&name).then(|| "true".to_owned()))
        };
        assert_eq!(among(&[]), None);
        assert_eq!(among(&["CI"]), None);
        assert_eq!(among(&["CI", "GITHUB_ACTIONS"]), Some(Fold::GitHub));
        assert_eq!(among(&["CI", "GITLAB_CI"]), Some(Fold::GitLab));
    }
}
