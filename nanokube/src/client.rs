//! A small HTTPS client for one API server: a connection a request, or one for many requests after each other.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::kubeconfig::Kubeconfig;

/// How to reach and greet the server.
#[derive(Clone)]
pub struct Client {
    kubeconfig: Arc<Kubeconfig>,
}

/// One open connection.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    authorization: Option<String>,
}

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub content_type: Option<String>,
    pub accept: Option<String>,
    /// Asks for a WebSocket that speaks one of these, comma-separated.
    pub protocol: Option<String>,
    pub body: Bytes,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| String::from_utf8_lossy(&self.body).into_owned().into())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    pub fn from_kubeconfig(path: &Path) -> anyhow::Result<Client> {
        Client::of_context(path, None)
    }

    /// For a context of a kubeconfig, the current one if none is named.
    pub fn of_context(path: &Path, context: Option<&str>) -> anyhow::Result<Client> {
        Ok(Client { kubeconfig: Arc::new(Kubeconfig::read(path, context)?) })
    }

    pub fn server(&self) -> &Uri {
        &self.kubeconfig.server
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, call: &Call) -> anyhow::Result<Answer> {
        self.connect().await?.send(call).await
    }

    /// Sends a request and returns as soon as the headers are there.
    pub async fn start(&self, call: &Call) -> anyhow::Result<http::Response<hyper::body::Incoming>> {
        self.connect().await?.start(call).await
    }

    /// A connection of one's own, for many requests after each other.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let Kubeconfig { server, tls, server_name, authorization } = &*self.kubeconfig;
        let host = server.host().context("the server URL has no host")?.to_string();
        let port = server.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let target = (host.trim_matches(['[', ']']), port);
        let stream = TcpStream::connect(target).await.context("cannot connect to the server")?;
        stream.set_nodelay(true).context("cannot set up the connection")?;
        let sender = match tls {
            Some(tls) => {
                let stream = tls.connect(server_name.clone(), stream).await.context("TLS failed")?;
                handshake(TokioIo::new(stream)).await
            }
            None => handshake(TokioIo::new(stream)).await,
        };
        let host = format!("{host}:{port}");
        Ok(Connection { sender: sender.context("HTTP failed")?, host, authorization: authorization.clone() })
    }

    /// A GET that wants JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(&Call { method: "GET".into(), path: path.into(), ..Call::default() }).await
    }

    /// A write of a JSON body.
    pub async fn write(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let content_type = Some("application/json".to_string());
        let body = body.to_string().into();
        self.send(&Call { method: method.into(), path: path.into(), content_type, body, ..Call::default() }).await
    }
}

impl Connection {
    pub async fn start(&mut self, call: &Call) -> anyhow::Result<http::Response<hyper::body::Incoming>> {
        let mut request = Request::builder().method(call.method.as_str()).uri(&call.path).header("Host", &self.host);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        if let Some(content_type) = &call.content_type {
            request = request.header("Content-Type", content_type);
        }
        if let Some(accept) = &call.accept {
            request = request.header("Accept", accept);
        }
        if let Some(protocol) = &call.protocol {
            request = request.header("Connection", "Upgrade").header("Upgrade", "websocket");
            request =
                request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "bmFub2t1YmUtbmFub2t1YmU=");
            request = request.header("Sec-WebSocket-Protocol", protocol);
        }
        let request = request.body(Full::new(call.body.clone())).context("not a request")?;
        self.sender.ready().await.context("the connection is closed")?;
        let sent = self.sender.send_request(request).await;
        sent.with_context(|| format!("{} {} failed", call.method, call.path))
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, call: &Call) -> anyhow::Result<Answer> {
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
