//! One connection through hyper: HTTP/1.1 or HTTP/2, in the clear or in TLS, and what its failures mean.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::engine::Setup;
use crate::engine::layered::Answer;
use crate::engine::mix::Prepared;
use crate::engine::slot::class_of_io;
use crate::engine::tally::Class;
use crate::engine::target::Target;

/// Where systems keep the certificates that they trust.
const TRUSTED: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Opens connections of one kind.
pub struct Dialer {
    http2: bool,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

pub enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why no answer came.
pub struct Failure {
    pub class: Class,
    pub why: String,
    /// The connection was gone before the first byte of an answer.
    pub before_answer: bool,
}

impl Failure {
    pub fn new(class: Class, why: impl std::fmt::Display) -> Self {
        Self { class, why: why.to_string(), before_answer: false }
    }
}

impl Dialer {
    pub fn new(setup: &Setup) -> Result<Self, String> {
        let tls = match &setup.tls {
            Some(config) => {
                let name = ServerName::try_from(setup.target.host.clone());
                let name = name.map_err(|_| format!("`{}` cannot be the name in a certificate", setup.target.host))?;
                Some((TlsConnector::from(config.clone()), name))
            }
            None => None,
        };
        Ok(Self { http2: setup.http2, tls })
    }

    pub async fn dial(&self, address: SocketAddr) -> Result<Connection, Failure> {
        let failure = |error: std::io::Error| Failure::new(class_of_io(&error, true), error);
        let stream = TcpStream::connect(address).await.map_err(failure)?;
        stream.set_nodelay(true).map_err(failure)?;
        match &self.tls {
            None => self.handshake(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(|error| match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Failure::new(Class::Reset, error),
                    ErrorKind::InvalidData => Failure::new(Class::Tls, format_args!("{error}{}", hint(&error))),
                    _ => Failure::new(Class::Tls, error),
                })?;
                self.handshake(stream).await
            }
        }
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin + 'static>(&self, stream: S) -> Result<Connection, Failure> {
        let stream = TokioIo::new(stream);
        let failure = |error| Failure::new(Class::Protocol, chain(&error));
        if self.http2 {
            let (sender, connection) = http2::handshake(LocalTasks, stream).await.map_err(failure)?;
            tokio::task::spawn_local(connection);
            return Ok(Connection::Http2(sender));
        }
        let (sender, connection) = http1::handshake(stream).await.map_err(failure)?;
        tokio::task::spawn_local(connection);
        Ok(Connection::Http1(sender))
    }
}

impl Connection {
    pub fn is_open(&self) -> bool {
        match self {
            Connection::Http1(sender) => !sender.is_closed(),
            Connection::Http2(sender) => !sender.is_closed(),
        }
    }

    pub async fn exchange(&mut self, target: &Target, what: &Prepared, pod_header: &str) -> Result<Answer, Failure> {
        let gone = |error| Failure { before_answer: true, ..Failure::new(Class::Reset, chain(&error)) };
        let unsound = || Failure::new(Class::Protocol, "hyper refuses to send this request");
        let request = self.request(target, what).ok_or_else(unsound)?;
        let response = match self {
            Connection::Http1(sender) => {
                sender.ready().await.map_err(gone)?;
                sender.send_request(request).await
            }
            Connection::Http2(sender) => {
                sender.ready().await.map_err(gone)?;
                sender.send_request(request).await
            }
        };
        let response = response.map_err(|error| Failure {
            before_answer: error.is_canceled() || error.is_closed() || error.is_incomplete_message(),
            ..Failure::new(class_of_hyper(&error), chain(&error))
        })?;
        let status = response.status().as_u16();
        let pod = response.headers().get(pod_header).map(|value| value.as_bytes().to_vec());
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Failure::new(class_of_hyper(&error), chain(&error)))?;
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(Answer { status, bytes, pod })
    }

    fn request(&self, target: &Target, what: &Prepared) -> Option<hyper::Request<Full<Bytes>>> {
        let host = target.host_header();
        let (uri, needs_host) = match self {
            Connection::Http1(_) => (what.path.clone(), true),
            Connection::Http2(_) => {
                let scheme = if target.https { "https" } else { "http" };
                (format!("{scheme}://{host}{}", what.path), false)
            }
        };
        let mut builder = hyper::Request::builder().method(what.method.as_str()).uri(uri);
        if needs_host && !what.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            builder = builder.header("host", host);
        }
        for (name, value) in &what.headers {
            builder = builder.header(name, value);
        }
        builder.body(Full::new(what.body.clone())).ok()
    }
}

/// What to do about a certificate that is not trusted.
fn hint(error: &std::io::Error) -> &'static str {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(_)) => "; trust its issuer with --cacert FILE or any with --insecure",
        _ => "",
    }
}

fn class_of_hyper(error: &hyper::Error) -> Class {
    if error.is_canceled() || error.is_closed() || error.is_incomplete_message() {
        return Class::Reset;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return class_of_io(io, false);
        }
        source = cause.source();
    }
    Class::Protocol
}

/// An error and what lies behind it, in one line.
fn chain(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Runs hyper's own tasks on the shard's thread.
#[derive(Clone)]
struct LocalTasks;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalTasks {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}

/// How this load trusts and speaks TLS.
pub fn client_config(insecure: bool, cacert: Option<&Path>, http2: bool) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS: {error}"))?;
    let mut config = match insecure {
        true => {
            let accept = Arc::new(AcceptAny { provider });
            builder.dangerous().with_custom_certificate_verifier(accept).with_no_client_auth()
        }
        false => builder.with_root_certificates(trusted(cacert)?).with_no_client_auth(),
    };
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(config)
}

fn trusted(cacert: Option<&Path>) -> Result<RootCertStore, String> {
    let from_environment = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let candidates: Vec<std::path::PathBuf> = match (cacert, from_environment) {
        (Some(path), _) => vec![path.to_owned()],
        (None, Some(path)) => vec![path],
        (None, None) => TRUSTED.iter().map(std::path::PathBuf::from).collect(),
    };
    let mut store = RootCertStore::empty();
    let is_asked_for = candidates.len() == 1;
    let Some(path) = candidates.iter().find(|path| is_asked_for || path.exists()) else {
        return Err("found no trusted certificates; say --cacert FILE, or --insecure to accept any".to_owned());
    };
    let certificates = CertificateDer::pem_file_iter(path);
    let certificates = certificates.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    store.add_parsable_certificates(certificates.flatten());
    match store.is_empty() {
        true => Err(format!("{} holds no certificate; say --cacert with a file of PEM", path.display())),
        false => Ok(store),
    }
}

/// For `--insecure`: any certificate, but a signature that is really its own.
#[derive(Debug)]
struct AcceptAny {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
