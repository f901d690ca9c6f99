//! Keys of an instance: its own certificate authority, a server certificate for each start, and the bearer token.
//!
//! The CA key and the token stay in the instance's directory, readable by its owner only. The server certificate is made
//! anew at each start, since the address may have changed.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use crate::instance::{Directory, write_private};

/// What a daemon and its clients share.
pub struct Credentials {
    pub ca_certificate_pem: String,
    pub token: String,
    ca_key: KeyPair,
}

impl Credentials {
    /// Reads them from the directory, or makes them there.
    pub fn load_or_create(directory: &Directory) -> anyhow::Result<Credentials> {
        let keys = directory.keys();
        fs::create_dir_all(&keys).with_context(|| format!("cannot make the directory {}", keys.display()))?;
        let (key_file, certificate_file, token_file) = (keys.join("ca.key"), keys.join("ca.crt"), keys.join("token"));
        if !certificate_file.exists() || !key_file.exists() {
            let key = KeyPair::generate().context("cannot generate a key")?;
            let certificate = ca_params()?.self_signed(&key).context("cannot sign the CA certificate")?;
            write_private(&key_file, key.serialize_pem().as_bytes())?;
            write_private(&certificate_file, certificate.pem().as_bytes())?;
        }
        if !token_file.exists() {
            write_private(&token_file, new_token().as_bytes())?;
        }
        let ca_key = KeyPair::from_pem(&read(&key_file)?).with_context(|| broken(&key_file))?;
        Ok(Credentials {
            ca_certificate_pem: read(&certificate_file)?,
            token: read(&token_file)?.trim().to_string(),
            ca_key,
        })
    }

    /// TLS for the server at these addresses, HTTP/1.1 only.
    pub fn acceptor(&self, addresses: &[Ipv4Addr]) -> anyhow::Result<TlsAcceptor> {
        let key = KeyPair::generate().context("cannot generate a key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "nanokube-apiserver");
        params.subject_alt_names = addresses.iter().map(|ip| SanType::IpAddress(IpAddr::V4(*ip))).collect();
        for name in ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
            params.subject_alt_names.push(SanType::DnsName(name.try_into().context("not a DNS name")?));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let issuer = Issuer::new(ca_params()?, &self.ca_key);
        let certificate = params.signed_by(&key, &issuer).context("cannot sign the server certificate")?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("no TLS version")?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("the server certificate is unusable")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Writes the kubeconfig of the instance. JSON is YAML, so every client reads it.
    pub fn write_kubeconfig(&self, directory: &Directory, server: &str) -> anyhow::Result<()> {
        let name = format!("nanokube-{}", directory.name());
        let ca = STANDARD.encode(&self.ca_certificate_pem);
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": name, "cluster": { "server": server, "certificate-authority-data": ca } }],
            "users": [{ "name": name, "user": { "token": self.token } }],
            "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
            "current-context": name,
        });
        let text = serde_yaml::to_string(&kubeconfig).context("cannot write the kubeconfig")?;
        write_private(&directory.kubeconfig(), text.as_bytes())
    }
}

fn ca_params() -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::<String>::new()).context("no CA parameters")?;
    params.distinguished_name.push(DnType::CommonName, "nanokube-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn new_token() -> String {
    let mut bytes = [0u8; 32];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    assert_eq!(filled, Ok(bytes.len()), "invariant: getrandom fills small buffers whole");
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn broken(path: &Path) -> String {
    format!("{} is broken: remove the directory it is in and start again", path.display())
}
