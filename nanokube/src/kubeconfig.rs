//! A kubeconfig as clients read it: which server the current context means, whom it is trusted by, and who asks. Files
//! that it names are relative to its own folder. What needs a program to be run (`exec`, `auth-provider`) is refused by
//! name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio_rustls::TlsConnector;

use crate::any_certificate::AnyCertificate;

/// What a client needs to know of one server.
pub(crate) struct Kubeconfig {
    pub(crate) server: Uri,
    /// None for plain HTTP.
    pub(crate) tls: Option<TlsConnector>,
    /// The name that the server's certificate must be for.
    pub(crate) server_name: ServerName<'static>,
    /// The value of the header Authorization.
    pub(crate) authorization: Option<String>,
}

/// The entries of the chosen context, and where the file is.
struct Chosen {
    cluster: Value,
    user: Value,
    folder: PathBuf,
}

impl Kubeconfig {
    /// Reads a file; `context` is the current one unless it is named.
    pub(crate) fn read(path: &Path, context: Option<&str>) -> anyhow::Result<Kubeconfig> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config: Value = serde_yaml::from_str(&text).with_context(|| format!("{} is no YAML", path.display()))?;
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let chosen = Chosen::of(&config, context, folder).with_context(|| path.display().to_string())?;
        chosen.understand().with_context(|| path.display().to_string())
    }
}

impl Chosen {
    fn of(config: &Value, context: Option<&str>, folder: PathBuf) -> anyhow::Result<Chosen> {
        let named = |list: &str, name: &str, what: &str| -> anyhow::Result<Value> {
            let entries = config[list].as_array().into_iter().flatten();
            let found = entries.into_iter().find(|entry| entry["name"] == name).map(|entry| entry[what].clone());
            found.with_context(|| format!("there is no {what} {name:?}"))
        };
        let name = context.or(config["current-context"].as_str()).unwrap_or_default();
        if name.is_empty() {
            bail!("there is no current context: choose one with `kubectl config use-context`");
        }
        let context = named("contexts", name, "context")?;
        let cluster = named("clusters", context["cluster"].as_str().unwrap_or_default(), "cluster")?;
        let user = match context["user"].as_str() {
            Some(user) => named("users", user, "user")?,
            None => Value::Null,
        };
        Ok(Chosen { cluster, user, folder })
    }

    fn understand(&self) -> anyhow::Result<Kubeconfig> {
        for refused in ["exec", "auth-provider"] {
            if !self.user[refused].is_null() {
                bail!("the user needs `{refused}`, which is not supported: use a token or a client certificate");
            }
        }
        if self.cluster["proxy-url"].is_string() {
            bail!("proxy-url is not supported: reach the server directly");
        }
        let text = self.cluster["server"].as_str().unwrap_or_default();
        let server: Uri = text.parse().with_context(|| format!("the server {text:?} is no URL"))?;
        let host = server.host().with_context(|| format!("the server {text:?} has no host"))?;
        let name = self.cluster["tls-server-name"].as_str().unwrap_or(host.trim_matches(['[', ']'])).to_owned();
        let server_name = ServerName::try_from(name).context("not a server name")?;
        let tls = match server.scheme_str() {
            Some("https") => Some(TlsConnector::from(Arc::new(self.tls()?))),
            Some("http") => None,
            _ => bail!("the server {text:?} is neither http nor https"),
        };
        Ok(Kubeconfig { server, tls, server_name, authorization: self.authorization()? })
    }

    fn authorization(&self) -> anyhow::Result<Option<String>> {
        let text = |field: &str| self.user[field].as_str().filter(|text| !text.is_empty());
        if let Some(token) = text("token") {
            return Ok(Some(format!("Bearer {token}")));
        }
        if let Some(file) = text("tokenFile") {
            let token = std::fs::read_to_string(self.folder.join(file));
            return Ok(Some(format!("Bearer {}", token.with_context(|| format!("cannot read {file}"))?.trim())));
        }
        let (name, password) = (text("username"), text("password").unwrap_or_default());
        Ok(name.map(|name| format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))))
    }

    fn tls(&self) -> anyhow::Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .context("no TLS version")?;
        let builder = if self.cluster["insecure-skip-tls-verify"] == true {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            let pem = self.pem(&self.cluster, "certificate-authority")?;
            let pem = pem.context("the cluster names no certificate authority, and the system's are not used")?;
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                roots.add(certificate.context("the CA is broken")?).context("the CA is unusable")?;
            }
            builder.with_root_certificates(roots)
        };
        let Some(certificate) = self.pem(&self.user, "client-certificate")? else {
            return Ok(builder.with_no_client_auth());
        };
        let key = self.pem(&self.user, "client-key")?.context("the user has a client certificate, but no key")?;
        let key = PrivateKeyDer::from_pem_slice(&key).context("the client key is broken")?;
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.context("the client certificate is broken")?;
        builder.with_client_auth_cert(chain, key).context("the client certificate is unusable")
    }

    /// `field-data` in base64, else the file that `field` names.
    fn pem(&self, entry: &Value, field: &str) -> anyhow::Result<Option<Vec<u8>>> {
        if let Some(data) = entry[format!("{field}-data")].as_str() {
            return Ok(Some(STANDARD.decode(data).with_context(|| format!("{field}-data is no base64"))?));
        }
        let Some(file) = entry[field].as_str() else { return Ok(None) };
        Ok(Some(std::fs::read(self.folder.join(file)).with_context(|| format!("cannot read {file}"))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Value)) -> String {
        let mut config = serde_json::json!({
            "current-context": "here",
            "contexts": [{ "name": "here", "context": { "cluster": "c", "user": "u" } }],
            "clusters": [{ "name": "c", "cluster": { "server": "https://127.0.0.1:1", "insecure-skip-tls-verify": true } }],
            "users": [{ "name": "u", "user": { "tokenFile": "token" } }],
        });
        change(&mut config);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "secret\n").unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, config.to_string()).unwrap();
        match Kubeconfig::read(&file, None) {
            Ok(read) => read.authorization.unwrap(),
            Err(error) => error.root_cause().to_string(),
        }
    }

    #[test]
    fn a_token_may_be_in_a_file_and_what_is_not_supported_is_named() {
        assert_eq!(refusal(|_| {}), "Bearer secret");
        assert!(refusal(|it| it["current-context"] = "".into()).contains("config use-context"));
        assert_eq!(refusal(|it| it["clusters"][0]["name"] = "d".into()), "there is no cluster \"c\"");
        assert!(refusal(|it| it["users"][0]["user"]["exec"] = serde_json::json!({})).contains("`exec`"));
        assert!(refusal(|it| it["clusters"][0]["cluster"]["server"] = "ftp://h".into()).contains("neither http nor"));
    }
}
