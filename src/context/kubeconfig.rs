//! Kubeconfigs: what is wrong with one is said without quoting it, because it holds tokens; so do the answers of credential
//! plugins.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;

use kube::client::AuthError;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::wait::redaction::redact;

/// What is wrong with a kubeconfig.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigProblem {
    /// A file cannot be read.
    #[error("cannot read the kubeconfig {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not YAML, or not of a kubeconfig's shape.
    #[error("the kubeconfig {name} is not valid{}", line.map(|line| format!(", see line {line}")).unwrap_or_default())]
    Invalid {
        /// Where it comes from.
        name: String,
        /// The line, where it is known.
        line: Option<u64>,
    },
    /// Two entries of a list have one name.
    #[error("the kubeconfig {name} has two {what} of the name {twice:?}")]
    Twice {
        /// Where it comes from.
        name: String,
        /// `contexts`, `clusters`, `users`.
        what: &'static str,
        /// The name.
        twice: String,
    },
    /// No context is chosen.
    #[error("the kubeconfig {name} has no current context; it has {}", list(contexts))]
    NoContext {
        /// Where it comes from.
        name: String,
        /// Those that it has.
        contexts: Vec<String>,
    },
    /// What was asked for, or what the context names, is not there.
    #[error("the kubeconfig {name} has no {what} {missing:?}; it has {}", list(found))]
    Missing {
        /// Where it comes from.
        name: String,
        /// `context`, `cluster`, `user`.
        what: &'static str,
        /// The name that was looked for.
        missing: String,
        /// The names that there are.
        found: Vec<String>,
    },
    /// Anything else that is wrong with it.
    #[error("the kubeconfig {name} cannot be used: {why}")]
    Other {
        /// Where it comes from.
        name: String,
        /// Why.
        why: String,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl KubeconfigProblem {
    /// Translates an error of the library; the text of a file that cannot be parsed is left out.
    pub fn of(name: &str, error: KubeconfigError) -> Self {
        let name = name.to_owned();
        match error {
            KubeconfigError::ReadConfig(source, path) => Self::Unreadable { path, source },
            KubeconfigError::Parse(error) => {
                Self::Invalid { name, line: error.location().map(|location| location.line()) }
            }
            error => Self::Other { name, why: error.to_string() },
        }
    }
}

/// Looks for what kubectl refuses and the library would pass over, or say in fewer words.
pub fn check(
    name: &str,
    kubeconfig: &Kubeconfig,
    options: &KubeConfigOptions,
) -> Result<(), KubeconfigProblem> {
    let owned = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<String>>();
    let contexts = owned(kubeconfig.contexts.iter().map(|context| &context.name).collect());
    let clusters = owned(kubeconfig.clusters.iter().map(|cluster| &cluster.name).collect());
    let users = owned(kubeconfig.auth_infos.iter().map(|user| &user.name).collect());
    for (what, names) in [("contexts", &contexts), ("clusters", &clusters), ("users", &users)] {
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(KubeconfigProblem::Twice { name: name.to_owned(), what, twice: twice.clone() });
        }
    }
    let asked = options.context.as_ref().or(kubeconfig.current_context.as_ref());
    let Some(wanted) = asked.filter(|context| !context.is_empty()) else {
        return Err(KubeconfigProblem::NoContext { name: name.to_owned(), contexts });
    };
    let missing = |what, missing: &str, found| {
        Err(KubeconfigProblem::Missing { name: name.to_owned(), what, missing: missing.to_owned(), found })
    };
    let context = kubeconfig.contexts.iter().find(|context| context.name == *wanted);
    let Some(context) = context.and_then(|context| context.context.as_ref()) else {
        return missing("context", wanted, contexts);
    };
    let cluster = options.cluster.as_deref().unwrap_or(&context.cluster);
    if !clusters.iter().any(|name| name == cluster) {
        return missing("cluster", cluster, clusters);
    }
    let user = options.user.as_deref().or(context.user.as_deref()).filter(|user| !user.is_empty());
    match user.filter(|user| !users.iter().any(|name| name == user)) {
        Some(user) => missing("user", user, users),
        None => Ok(()),
    }
}

/// What an error that is, or comes from, a failed log-in says, without what a plugin printed as its result; `None` for every
/// other error.
pub fn of_log_in(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<AuthError>() {
            return Some(log_in(error));
        }
        if let Some(kube::Error::Auth(error)) = cause.downcast_ref::<kube::Error>() {
            return Some(log_in(error));
        }
        next = cause.source();
    }
    None
}

fn log_in(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecStart(why) => {
            format!("the kubeconfig's credential plugin cannot be started: {why}")
        }
        AuthError::AuthExecRun { out, .. } => {
            // Its result may hold a token; what it complains about is for the operator.
            let said = redact(&String::from_utf8_lossy(&out.stderr));
            let said = said.trim();
            let said = if said.is_empty() { String::new() } else { format!("; it says: {said}") };
            format!("the kubeconfig's credential plugin failed ({}){said}", out.status)
        }
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
            "the kubeconfig's credential plugin gives no usable answer (an ExecCredential with a status)"
                .to_owned()
        }
        AuthError::ParseTokenKey(_) => "the kubeconfig's credential plugin gives no token".to_owned(),
        AuthError::ReadTokenFile(why, path) => format!("cannot read the token in {}: {why}", path.display()),
        error => redact(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn checked(change: impl Fn(&mut Value), options: &KubeConfigOptions) -> String {
        let mut config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "prod",
            "clusters": [{"name": "c", "cluster": {"server": "https://example.com"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
        });
        change(&mut config);
        let config: Kubeconfig = serde_json::from_value(config).unwrap();
        check("FILE", &config, options).err().map(|problem| problem.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_kubectl_refuses_is_refused() {
        let plain = KubeConfigOptions::default();
        assert_eq!(checked(|_| {}, &plain), "");
        let twice = |config: &mut Value| {
            let first = config["contexts"][0].clone();
            config["contexts"].as_array_mut().unwrap().push(first);
        };
        assert_eq!(checked(twice, &plain), "the kubeconfig FILE has two contexts of the name \"prod\"");
        let nothing = |config: &mut Value| config["current-context"] = json!("");
        assert_eq!(checked(nothing, &plain), "the kubeconfig FILE has no current context; it has prod");
        for (options, words) in [
            (
                KubeConfigOptions { context: Some("x".into()), ..KubeConfigOptions::default() },
                "no context \"x\"; it has prod",
            ),
            (
                KubeConfigOptions { cluster: Some("x".into()), ..KubeConfigOptions::default() },
                "no cluster \"x\"; it has c",
            ),
            (
                KubeConfigOptions { user: Some("x".into()), ..KubeConfigOptions::default() },
                "no user \"x\"; it has u",
            ),
        ] {
            let said = checked(|_| {}, &options);
            assert!(said.contains(words), "{said}");
        }
        // A context without a user is one that needs none.
        let nobody = |config: &mut Value| config["contexts"][0]["context"] = json!({"cluster": "c"});
        assert_eq!(checked(nobody, &plain), "");
    }
}
