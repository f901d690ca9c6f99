//! The listener: TLS, HTTP/1.1, and the bounds that no client can stretch.
//!
//! A connection is cut off when it does not finish its handshake or its headers in time; there are only so many of them.
//! On shutdown idle connections close at once and busy ones after their answer; watches are cut, clients resume them.

use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::{Api, handle};

/// Connections at the same time; past it new ones wait in the listen queue.
const CONNECTIONS_LIMIT: usize = 8_192;
const HEADERS_LIMIT: usize = 128;
const HEADER_BYTES_LIMIT: usize = 64 << 10;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long busy connections may go on after shutdown was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// After a failed accept (out of file descriptors, mostly).
const PAUSE: Duration = Duration::from_millis(50);
/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves until `shutdown` turns true.
pub async fn serve(api: Arc<Api>, listener: TcpListener, tls: TlsAcceptor, mut shutdown: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = asked(&mut shutdown) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (api, tls, shutdown) = (api.clone(), tls.clone(), shutdown.clone());
        tokio::spawn(async move {
            connection(api, stream, tls, shutdown).await;
            drop(slot);
        });
    }
    let all = u32::try_from(CONNECTIONS_LIMIT).unwrap_or(u32::MAX);
    // Past the time-out the process ends anyway.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, slots.acquire_many(all)).await;
}

/// Returns when shutdown is asked for, or nobody is left who could ask.
async fn asked(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is as good as asking.
    let _ = shutdown.wait_for(|asked| *asked).await;
}

async fn connection(api: Arc<Api>, mut stream: TcpStream, tls: TlsAcceptor, mut shutdown: watch::Receiver<bool>) {
    // Without TCP_NODELAY small watch events wait for acknowledgements; failing to set it only costs time.
    let _ = stream.set_nodelay(true);
    let mut first = [0u8];
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first[0] == TLS_HANDSHAKE => {}
        Ok(Ok(1)) => {
            let words = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
            // The client may be gone already.
            let _ = stream.write_all(words.as_bytes()).await;
            return;
        }
        _ => return,
    }
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await else { return };
    let service = service_fn(move |request| {
        let api = api.clone();
        async move { Ok::<_, std::convert::Infallible>(handle(api, request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_LIMIT)
        .max_buf_size(HEADER_BYTES_LIMIT);
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ends = tokio::select! {
        // Errors of a connection concern its client alone.
        _ = connection.as_mut() => false,
        () = asked(&mut shutdown) => true,
    };
    if ends {
        connection.as_mut().graceful_shutdown();
        // Watches never end by themselves; past the time-out they are cut.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, connection).await;
    }
}
