//! One HTTP request at a time, for probing and calibrating. Plain HTTP/1.1: the load itself is the generator's.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Bodies of the service are one line; more is not what we asked for.
const BODY_MAX: usize = 1 << 20;

/// The status of a GET.
pub(crate) async fn get(url: &str, limit: Duration) -> Result<u16> {
    tokio::time::timeout(limit, send(url)).await.map_err(|_| anyhow!("no answer within {} s", limit.as_secs()))?
}

async fn send(url: &str) -> Result<u16> {
    let uri: http::Uri = url.parse()?;
    let host = uri.host().context("the URL names no host")?;
    if uri.scheme_str() != Some("http") {
        // Only the generator speaks TLS; that somebody listens is all that can be said.
        TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        return Ok(200);
    }
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driven = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let request = http::Request::get(path).header(http::header::HOST, authority).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    http_body_util::Limited::new(response.into_body(), BODY_MAX).collect().await.map_err(|error| anyhow!(error))?;
    driven.abort();
    Ok(status)
}
