//! How to reach the cluster: kubectl's flags with kubectl's meanings.

use std::path::PathBuf;

use clap::Args;

use super::GoDuration;

/// How to reach the cluster.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// Path of the kubeconfig file
    #[arg(long, global = true, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the kubeconfig context
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Name of the kubeconfig cluster
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Name of the kubeconfig user
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// Namespace of the release
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// User to act as
    #[arg(long = "as", global = true, value_name = "NAME")]
    pub impersonate: Option<String>,
    /// Group to act as (repeatable)
    #[arg(long = "as-group", global = true, value_name = "NAME")]
    pub impersonate_groups: Vec<String>,
    /// UID to act as
    #[arg(long = "as-uid", global = true, value_name = "UID")]
    pub impersonate_uid: Option<String>,
    /// Bearer token for the API server
    #[arg(long, global = true, value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Address of the API server
    #[arg(short, long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Path of the certificate authority's certificate
    #[arg(long, global = true, value_name = "PATH")]
    pub certificate_authority: Option<PathBuf>,
    /// Path of the client certificate
    #[arg(long, global = true, value_name = "PATH")]
    pub client_certificate: Option<PathBuf>,
    /// Path of the client key
    #[arg(long, global = true, value_name = "PATH")]
    pub client_key: Option<PathBuf>,
    /// Do not check the API server's certificate
    #[arg(long, global = true)]
    pub insecure_skip_tls_verify: bool,
    /// Name that the API server's certificate is checked for
    #[arg(long, global = true, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// Time limit of one request as a Go duration; 0 means the default of 30s
    #[arg(long, global = true, value_name = "DURATION")]
    pub request_timeout: Option<GoDuration>,
}

impl ConnectionArgs {
    /// As a Helm plugin, Helm keeps its own global flags and passes them on as `HELM_*` variables only; they fill
    /// what was not given. `lookup` reads the environment.
    pub fn fill_from_helm(&mut self, lookup: impl Fn(&str) -> Option<String>) {
        if lookup("HELM_PLUGIN_NAME").is_none() {
            return;
        }
        let value = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let fill = |slot: &mut Option<String>, name: &str| {
            if slot.is_none() {
                *slot = value(name);
            }
        };
        fill(&mut self.namespace, "HELM_NAMESPACE");
        fill(&mut self.context, "HELM_KUBECONTEXT");
        fill(&mut self.token, "HELM_KUBETOKEN");
        fill(&mut self.server, "HELM_KUBEAPISERVER");
        fill(&mut self.impersonate, "HELM_KUBEASUSER");
        fill(&mut self.tls_server_name, "HELM_KUBETLS_SERVER_NAME");
        if self.impersonate_groups.is_empty()
            && let Some(groups) = value("HELM_KUBEASGROUPS")
        {
            self.impersonate_groups = groups.split(',').map(str::to_owned).collect();
        }
        if self.certificate_authority.is_none() {
            self.certificate_authority = value("HELM_KUBECAFILE").map(PathBuf::from);
        }
        self.insecure_skip_tls_verify |=
            value("HELM_KUBEINSECURE_SKIP_TLS_VERIFY").as_deref() == Some("true");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helm_fills_only_what_was_not_given_and_only_for_its_plugin() {
        let environment = |name: &str| match name {
            "HELM_PLUGIN_NAME" => Some("emergency".to_owned()),
            "HELM_NAMESPACE" => Some("prod".to_owned()),
            "HELM_KUBEASGROUPS" => Some("a,b".to_owned()),
            _ => None,
        };
        let mut arguments =
            ConnectionArgs { namespace: Some("mine".to_owned()), ..ConnectionArgs::default() };
        arguments.fill_from_helm(environment);
        assert_eq!(arguments.namespace.as_deref(), Some("mine"));
        assert_eq!(arguments.impersonate_groups, ["a", "b"]);

        let mut arguments = ConnectionArgs::default();
        arguments.fill_from_helm(|name| environment(name).filter(|_| name != "HELM_PLUGIN_NAME"));
        assert_eq!(arguments.namespace, None);
    }
}
