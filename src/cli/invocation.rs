//! The command line as others may see it: in journals, in Helm's history, on screens of pipelines.

/// Flags whose values are credentials.
const CREDENTIALS: [&str; 1] = ["--token"];

/// A command line as others may see it, in locks and journals: every credential left out.
pub fn without_credentials(arguments: &[std::ffi::OsString]) -> String {
    let mut words = vec!["kubectl rollback".to_owned()];
    let mut is_credential = false;
    for (position, argument) in arguments.iter().enumerate().skip(1) {
        let text = argument.to_string_lossy();
        if text == "--" {
            words.push(text.into_owned());
            words.push(foreign_command(&arguments[position + 1..]));
            break;
        }
        let flag = text.split_once('=').map_or(&*text, |(flag, _)| flag);
        if std::mem::take(&mut is_credential) {
            words.push("…".to_owned());
        } else if CREDENTIALS.contains(&flag) {
            is_credential = !text.contains('=');
            words.push(if is_credential { flag.to_owned() } else { format!("{flag}=…") });
        } else if text.is_empty() || text.contains(char::is_whitespace) {
            words.push(format!("'{text}'"));
        } else {
            words.push(text.into_owned());
        }
    }
    words.join(" ")
}

/// Flags of Helm, kubectl and their like whose value is nobody's business.
const FOREIGN_SECRETS: [&str; 8] = [
    "--set",
    "--set-string",
    "--set-json",
    "--set-literal",
    "--set-file",
    "--password",
    "--token",
    "--kube-token",
];

/// Another program's command line as others may see it: without values that are set, and without what looks like a
/// credential; also within the text of a script (`sh -c`).
pub fn foreign_command(arguments: &[std::ffi::OsString]) -> String {
    let mut is_secret = false;
    let words = arguments.iter().map(|argument| {
        let text = argument.to_string_lossy();
        if !text.contains(char::is_whitespace) {
            return foreign_word(&text, &mut is_secret);
        }
        if std::mem::take(&mut is_secret) {
            return "…".to_owned();
        }
        let mut is_secret = false;
        let words = text.split_whitespace().map(|word| foreign_word(word, &mut is_secret));
        format!("'{}'", words.collect::<Vec<_>>().join(" "))
    });
    crate::wait::redaction::redact(&words.collect::<Vec<_>>().join(" "))
}

fn foreign_word(text: &str, is_secret: &mut bool) -> String {
    let flag = text.split_once('=').map_or(text, |(flag, _)| flag);
    if std::mem::take(is_secret) {
        return "…".to_owned();
    }
    if !FOREIGN_SECRETS.contains(&flag) {
        return text.to_owned();
    }
    *is_secret = !text.contains('=');
    if *is_secret { flag.to_owned() } else { format!("{flag}=…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_in_the_command_line_that_others_see() {
        let said = |words: &[&str]| {
            let words: Vec<std::ffi::OsString> = words.iter().map(Into::into).collect();
            without_credentials(&words)
        };
        assert_eq!(
            said(&["kubectl-rollback", "--token", "hunter2", "to", "app", "-m", "two words"]),
            "kubectl rollback --token … to app -m 'two words'"
        );
        assert_eq!(said(&["x", "to", "--token=hunter2", "-y"]), "kubectl rollback to --token=… -y");
    }

    #[test]
    fn a_deploy_is_shown_without_what_it_sets() {
        let said = |words: &[&str]| {
            let words: Vec<std::ffi::OsString> = words.iter().map(std::ffi::OsString::from).collect();
            without_credentials(&words)
        };
        for (words, shown) in [
            (
                &[
                    "x",
                    "ci",
                    "app",
                    "--",
                    "helm",
                    "upgrade",
                    "app",
                    ".",
                    "--set",
                    "db.pass=hunter2",
                    "--wait",
                ][..],
                "kubectl rollback ci app -- helm upgrade app . --set … --wait",
            ),
            (
                &["x", "ci", "--", "helm", "--set-string=a=hunter2"],
                "kubectl rollback ci -- helm --set-string=…",
            ),
            (&["x", "ci", "--", "helm", "--set", "a=hunter2 hunter2"], "kubectl rollback ci -- helm --set …"),
            (
                &["x", "ci", "--", "sh", "-c", "helm upgrade a . --set p=hunter2 && echo"],
                "kubectl rollback ci -- sh -c 'helm upgrade a . --set … && echo'",
            ),
        ] {
            assert_eq!(said(words), shown);
        }
        assert!(!said(&["x", "ci", "--", "helm", "https://me:hunter2@charts.example"]).contains("hunter2"));
    }
}
