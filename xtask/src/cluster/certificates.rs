//! The certificate authority of a throw-away cluster, the certificates of its components and the
//! kubeconfigs that hold them.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;

/// Writes certificates into one folder, all signed by one authority made for the cluster.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a certificate is for.
pub enum Purpose<'a> {
    /// Proves the identity of a client: its group (organization), if any.
    Client { group: Option<&'a str> },
    /// Proves the identity of a server that is reached under these addresses and names.
    Server { addresses: &'a [IpAddr], names: &'a [&'a str] },
}

impl Authority {
    /// Makes a new authority and the key that signs service account tokens, in `folder`.
    pub fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        parameters.distinguished_name.push(DnType::CommonName, "kubectl-rollback test cluster");
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
        let authority = Self { folder: folder.to_path_buf(), issuer };
        fs::write(authority.certificate("authority"), authority.issuer.pem())?;
        write_key(&authority.key("authority"), authority.issuer.key())?;
        let token_key = KeyPair::generate()?;
        write_key(&authority.key("service-accounts"), &token_key)?;
        fs::write(authority.public_key("service-accounts"), token_key.public_key_pem())?;
        Ok(authority)
    }

    /// The path of a certificate; `authority` is the authority's own.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    /// The path of a private key; `service-accounts` signs service account tokens.
    pub fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// The path of the public half of a key.
    pub fn public_key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pub"))
    }

    /// Issues the certificate `name` for the subject `common_name`.
    pub fn issue(&self, name: &str, common_name: &str, purpose: &Purpose<'_>) -> Result<()> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        match purpose {
            Purpose::Client { group } => {
                if let Some(group) = group {
                    parameters.distinguished_name.push(DnType::OrganizationName, *group);
                }
                parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }
            Purpose::Server { addresses, names } => {
                parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                for address in *addresses {
                    parameters.subject_alt_names.push(SanType::IpAddress(*address));
                }
                for name in *names {
                    parameters.subject_alt_names.push(SanType::DnsName((*name).try_into()?));
                }
            }
        }
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        fs::write(self.certificate(name), certificate.pem())?;
        write_key(&self.key(name), &key)
    }

    /// Writes a kubeconfig for the client certificate `name`, complete in one file.
    pub fn write_kubeconfig(&self, name: &str, server: &str, path: &Path) -> Result<()> {
        let encoded = |file: PathBuf| -> Result<String> {
            let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            Ok(BASE64_STANDARD.encode(text))
        };
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": server,
                "certificate-authority-data": encoded(self.certificate("authority"))?,
            }}],
            "users": [{"name": name, "user": {
                "client-certificate-data": encoded(self.certificate(name))?,
                "client-key-data": encoded(self.key(name))?,
            }}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name, "namespace": "default"}}],
            "current-context": "test",
        });
        // JSON is YAML, and every reader of kubeconfigs takes it.
        write_private(path, &serde_json::to_string_pretty(&kubeconfig)?)
    }
}

fn write_key(path: &Path, key: &KeyPair) -> Result<()> {
    write_private(path, &key.serialize_pem())
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
