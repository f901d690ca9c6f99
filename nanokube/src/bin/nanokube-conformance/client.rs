//! A small HTTPS client for one API server: one connection a request, so that nothing of one case reaches the next.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How to reach and greet the server.
pub(crate) struct Client {
    server: Uri,
    token: String,
    tls: Option<TlsConnector>,
}

/// One open connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    token: String,
}

/// What a case sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) content_type: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) body: Bytes,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| String::from_utf8_lossy(&self.body).into_owned().into())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    pub(crate) fn from_kubeconfig(path: &Path) -> anyhow::Result<Client> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config: Value = serde_yaml::from_str(&text).with_context(|| format!("{} is no YAML", path.display()))?;
        let current = config["current-context"].as_str().unwrap_or_default();
        let named = |list: &str, name: &str| -> Value {
            let entries = config[list].as_array().into_iter().flatten();
            entries.clone().find(|entry| entry["name"] == name).cloned().unwrap_or(Value::Null)
        };
        let context = named("contexts", current)["context"].clone();
        let cluster = named("clusters", context["cluster"].as_str().unwrap_or_default())["cluster"].clone();
        let user = named("users", context["user"].as_str().unwrap_or_default())["user"].clone();
        let server: Uri = cluster["server"].as_str().unwrap_or_default().parse().context("the server is no URL")?;
        let token = user["token"].as_str().unwrap_or_default().to_string();
        let tls = match server.scheme_str() {
            Some("https") => Some(connector(&cluster)?),
            Some("http") => None,
            _ => bail!("{}: the server of the current context is neither http nor https", path.display()),
        };
        Ok(Client { server, token, tls })
    }

    pub(crate) fn server(&self) -> &Uri {
        &self.server
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, call: &Call) -> anyhow::Result<Answer> {
        self.connect().await?.send(call).await
    }

    /// Sends a request and returns as soon as the headers are there.
    pub(crate) async fn start(&self, call: &Call) -> anyhow::Result<http::Response<hyper::body::Incoming>> {
        self.connect().await?.start(call).await
    }

    /// A connection of one's own, for many requests after each other.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let host = self.server.host().context("the server URL has no host")?.to_string();
        let default_port = if self.tls.is_some() { 443 } else { 80 };
        let port = self.server.port_u16().unwrap_or(default_port);
        let stream = TcpStream::connect((host.as_str(), port)).await.context("cannot connect to the server")?;
        stream.set_nodelay(true).context("cannot set up the connection")?;
        let sender = match &self.tls {
            Some(tls) => {
                let name = ServerName::try_from(host.clone()).context("not a server name")?;
                let stream = tls.connect(name, stream).await.context("TLS failed")?;
                handshake(TokioIo::new(stream)).await
            }
            None => handshake(TokioIo::new(stream)).await,
        };
        Ok(Connection { sender: sender.context("HTTP failed")?, host, token: self.token.clone() })
    }

    /// A GET that wants JSON.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(&Call { method: "GET".into(), path: path.into(), ..Call::default() }).await
    }

    /// A write of a JSON body.
    pub(crate) async fn write(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let content_type = Some("application/json".to_string());
        let body = body.to_string().into();
        self.send(&Call { method: method.into(), path: path.into(), content_type, body, ..Call::default() }).await
    }
}

impl Connection {
    pub(crate) async fn start(&mut self, call: &Call) -> anyhow::Result<http::Response<hyper::body::Incoming>> {
        let mut request = Request::builder().method(call.method.as_str()).uri(&call.path).header("Host", &self.host);
        if !self.token.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        if let Some(content_type) = &call.content_type {
            request = request.header("Content-Type", content_type);
        }
        if let Some(accept) = &call.accept {
            request = request.header("Accept", accept);
        }
        let request = request.body(Full::new(call.body.clone())).context("not a request")?;
        self.sender.ready().await.context("the connection is closed")?;
        let sent = self.sender.send_request(request).await;
        sent.with_context(|| format!("{} {} failed", call.method, call.path))
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, call: &Call) -> anyhow::Result<Answer> {
        let (parts, body) = self.start(call).await?.into_parts();
        let body = body.collect().await.context("the answer broke off")?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

async fn handshake<T>(io: T) -> hyper::Result<SendRequest<Full<Bytes>>>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    // The connection ends with its last answer; its errors show there.
    tokio::spawn(connection);
    Ok(sender)
}

fn connector(cluster: &Value) -> anyhow::Result<TlsConnector> {
    let data = cluster["certificate-authority-data"].as_str().map(|text| STANDARD.decode(text)).transpose();
    let pem = match (data.context("the CA in the kubeconfig is no base64")?, cluster["certificate-authority"].as_str())
    {
        (Some(pem), _) => pem,
        (None, Some(file)) => std::fs::read(file).with_context(|| format!("cannot read {file}"))?,
        (None, None) => bail!("the kubeconfig names no certificate authority"),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.context("the CA is broken")?).context("the CA is unusable")?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("no TLS version")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
