//! Keys of an instance: its own certificate authorities, a certificate for each start, and the bearer token.
//!
//! One authority signs the server's certificate, another that of the front proxy: servers of APIServices believe whoever
//! shows one of the latter. Their keys and the token stay in the instance's directory, readable by its owner only. The
//! certificates are made anew at each start, since the address may have changed.

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

/// The only name that servers of APIServices are told to believe.
pub const FRONT_PROXY: &str = "front-proxy-client";

/// What a daemon and its clients share.
pub struct Credentials {
    pub ca: Authority,
    pub front_proxy_ca: Authority,
    pub token: String,
}

/// Who signs certificates.
pub struct Authority {
    pub certificate_pem: String,
    name: &'static str,
    key: KeyPair,
}

/// A certificate with its key, shown by a client to a server.
#[derive(Debug)]
pub struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    pub fn chain_and_key(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), self.key.clone_key())
    }
}

impl Credentials {
    /// Reads them from the directory, or makes them there.
    pub fn load_or_create(directory: &Directory) -> anyhow::Result<Credentials> {
        let keys = directory.keys();
        fs::create_dir_all(&keys).with_context(|| format!("cannot make the directory {}", keys.display()))?;
        let token_file = keys.join("token");
        if !token_file.exists() {
            write_private(&token_file, new_token().as_bytes())?;
        }
        Ok(Credentials {
            ca: Authority::load_or_create(&keys, "ca", "nanokube-ca")?,
            front_proxy_ca: Authority::load_or_create(&keys, "front-proxy-ca", "nanokube-front-proxy-ca")?,
            token: read(&token_file)?.trim().to_string(),
        })
    }

    /// TLS for the server at these addresses, HTTP/1.1 only.
    pub fn acceptor(&self, addresses: &[Ipv4Addr]) -> anyhow::Result<TlsAcceptor> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "nanokube-apiserver");
        params.subject_alt_names = addresses.iter().map(|ip| SanType::IpAddress(IpAddr::V4(*ip))).collect();
        for name in ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
            params.subject_alt_names.push(SanType::DnsName(name.try_into().context("not a DNS name")?));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (chain, key) = self.ca.sign(params)?;
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

    /// What the API shows to servers of APIServices.
    pub fn front_proxy(&self) -> anyhow::Result<ClientIdentity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, FRONT_PROXY);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (chain, key) = self.front_proxy_ca.sign(params)?;
        Ok(ClientIdentity { chain, key })
    }

    /// Writes the kubeconfig of the instance. JSON is YAML, so every client reads it.
    pub fn write_kubeconfig(&self, directory: &Directory, server: &str) -> anyhow::Result<()> {
        let name = format!("nanokube-{}", directory.name());
        let ca = STANDARD.encode(&self.ca.certificate_pem);
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

impl Authority {
    fn load_or_create(keys: &Path, file: &str, name: &'static str) -> anyhow::Result<Authority> {
        let (key_file, certificate_file) = (keys.join(format!("{file}.key")), keys.join(format!("{file}.crt")));
        if !certificate_file.exists() || !key_file.exists() {
            let key = KeyPair::generate().context("cannot generate a key")?;
            let certificate = ca_params(name)?.self_signed(&key).context("cannot sign the CA certificate")?;
            write_private(&key_file, key.serialize_pem().as_bytes())?;
            write_private(&certificate_file, certificate.pem().as_bytes())?;
        }
        let key = KeyPair::from_pem(&read(&key_file)?).with_context(|| broken(&key_file))?;
        Ok(Authority { certificate_pem: read(&certificate_file)?, name, key })
    }

    /// A new key and a certificate for it.
    fn sign(
        &self,
        mut params: CertificateParams,
    ) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = KeyPair::generate().context("cannot generate a key")?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let issuer = Issuer::new(ca_params(self.name)?, &self.key);
        let certificate = params.signed_by(&key, &issuer).context("cannot sign a certificate")?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        Ok((chain, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))))
    }
}

fn ca_params(name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::<String>::new()).context("no CA parameters")?;
    params.distinguished_name.push(DnType::CommonName, name);
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
