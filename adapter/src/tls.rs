//! HTTPS: the API server speaks nothing else to an aggregated server.
//!
//! The certificate comes from a mounted secret, or is made at each start and never leaves the process; the APIService
//! then says `insecureSkipTLSVerify`. Speaks HTTP/1.1 only, and says so in the handshake.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use salvo::conn::tcp::{TcpAcceptor, TcpCoupler};
use salvo::conn::{Accepted, Acceptor, HandshakeStream, Holding, StraightStream};
use salvo::fuse::ArcFusePolicy;
use salvo::http::uri::Scheme;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

pub(crate) fn config(files: Option<(&Path, &Path)>, host: &str) -> Result<ServerConfig> {
    let (chain, key) = match files {
        Some((certificate, key)) => mounted(certificate, key)?,
        None => own(host)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("certificate and key do not belong together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn mounted(certificate: &Path, key: &Path) -> Result<Identity> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.with_context(|| format!("{} holds no certificates", certificate.display()))?;
    let key_der = PrivateKeyDer::from_pem_slice(&read(key)?);
    Ok((chain, key_der.with_context(|| format!("{} holds no private key", key.display()))?))
}

fn own(host: &str) -> Result<Identity> {
    let names = vec![host.to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    Ok((vec![made.cert.der().clone()], key))
}

/// Plain connections turned into TLS, one by one; a slow handshake keeps no other connection waiting.
pub(crate) struct TlsAcceptor {
    inner: TcpAcceptor,
    holdings: Vec<Holding>,
    tls: tokio_rustls::TlsAcceptor,
}

impl TlsAcceptor {
    pub(crate) fn new(inner: TcpAcceptor, config: ServerConfig) -> TlsAcceptor {
        let secured = |holding: &Holding| Holding { http_scheme: Scheme::HTTPS, ..holding.clone() };
        let holdings = inner.holdings().iter().map(secured).collect();
        TlsAcceptor { inner, holdings, tls: Arc::new(config).into() }
    }
}

impl Acceptor for TlsAcceptor {
    type Coupler = TcpCoupler<Self::Stream>;
    type Stream = HandshakeStream<TlsStream<StraightStream<TcpStream>>>;

    fn holdings(&self) -> &[Holding] {
        &self.holdings
    }

    async fn accept(
        &mut self,
        fuse_policy: Option<ArcFusePolicy>,
    ) -> std::io::Result<Accepted<Self::Coupler, Self::Stream>> {
        let plain = self.inner.accept(fuse_policy).await?;
        let tls = self.tls.clone();
        let timeouts = plain.fuse_config;
        let mut secured = plain.map_into(
            |_| TcpCoupler::new(),
            move |stream| HandshakeStream::new(async move { tls.accept(stream).await }, timeouts),
        );
        secured.http_scheme = Scheme::HTTPS;
        Ok(secured)
    }
}
