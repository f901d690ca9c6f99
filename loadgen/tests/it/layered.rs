//! HTTP/2 and TLS against a server built from hyper and rustls, with a certificate of its own.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;

use crate::run::summary;

struct SecureServer {
    address: SocketAddr,
    certificate: String,
    _runtime: Runtime,
}

/// Serves HTTP/2 or HTTP/1.1, in TLS or in the clear; every answer names the protocol as its pod.
fn start(tls: bool, http2: bool) -> SecureServer {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let certificate = certified.cert.pem();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match tls {
                    true => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, http2).await;
                        }
                    }
                    false => serve(stream, http2).await,
                }
            });
        }
    });
    SecureServer { address, certificate, _runtime: runtime }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http2: bool) {
    let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
        let pod = format!("{:?}", request.version());
        let response = hyper::Response::builder().header("x-pod-name", pod).body(Full::new(bytes::Bytes::from("ok")));
        Ok::<_, Infallible>(response.unwrap())
    });
    let stream = TokioIo::new(stream);
    let _ = match http2 {
        true => hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(stream, answer).await,
        false => hyper::server::conn::http1::Builder::new().serve_connection(stream, answer).await,
    };
}

#[track_caller]
fn check(tls: bool, http2: bool, version: &str) {
    let server = start(tls, http2);
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("ca.pem");
    std::fs::write(&certificate, &server.certificate).unwrap();
    let url = format!("{}://{}/", if tls { "https" } else { "http" }, server.address);
    let mut args = vec![url.as_str(), "-r", "100", "-d", "500ms", "--max-requests", "10"];
    args.extend(http2.then_some("--http2"));
    if tls {
        args.extend(["--cacert", certificate.to_str().unwrap()]);
    }
    let (open, _) = summary(&args);
    assert_eq!((open.requests.planned, open.requests.ok), (50, 50), "{:?}", open.requests);
    assert_eq!(open.pods.keys().collect::<Vec<_>>(), [version]);
    assert!(open.connections.opened >= 5, "{:?}", open.connections);
    let closed: Vec<&str> = args.iter().map(|arg| if *arg == "-r" { "-c" } else { arg }).collect();
    let closed: Vec<&str> = closed.iter().map(|arg| if *arg == "100" { "3" } else { arg }).collect();
    let (closed, _) = summary(&closed);
    assert!(closed.requests.ok > 3 && closed.requests.errors.total() == 0, "{:?}", closed.requests);
}

#[test]
fn http2_in_the_clear() {
    check(false, true, "HTTP/2.0");
}

#[test]
fn http2_in_tls() {
    check(true, true, "HTTP/2.0");
}

#[test]
fn http1_in_tls() {
    check(true, false, "HTTP/1.1");
}

#[test]
fn a_certificate_that_is_not_trusted_is_a_tls_error_unless_any_is_accepted() {
    let server = start(true, false);
    let url = format!("https://{}/", server.address);
    let other = start(true, false);
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("ca.pem");
    std::fs::write(&certificate, &other.certificate).unwrap();
    let args = [url.as_str(), "-r", "20", "-d", "500ms"];
    let (refused, _) = summary(&[&args[..], &["--cacert", certificate.to_str().unwrap()]].concat());
    assert_eq!(refused.requests.errors.tls, 10, "{:?}", refused.requests);
    assert!(refused.first_errors["tls"].contains("certificate"), "{:?}", refused.first_errors);
    let (accepted, _) = summary(&[&args[..], &["--insecure"]].concat());
    assert_eq!(accepted.requests.ok, 10, "{:?}", accepted.requests);
}

#[test]
fn a_file_without_certificates_is_named_and_costs_nothing() {
    let output =
        crate::run::loadgen(&["https://127.0.0.1:1/", "-r", "5", "--cacert", "/no/such/ca.pem"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/ca.pem"));
}

#[test]
fn an_interrupted_run_adds_up_at_whatever_moment() {
    let server = start(true, true);
    let url = format!("https://{}/", server.address);
    for delay_ms in 0..8 {
        let args = [url.as_str(), "-r", "2000", "-d", "60s", "--http2", "--insecure", "--summary", "json", "-q"];
        let mut command = crate::run::loadgen(&[&args[..], &["--metrics", "127.0.0.1:0"]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Where its metrics are, it says when it listens for signals already.
        let mut said = BufReader::new(child.stderr.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        std::thread::sleep(Duration::from_millis(17 * delay_ms));
        // SAFETY: sends a signal to the child that this test started and still owns.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        crate::run::read_summary(&child.wait_with_output().unwrap());
    }
}

#[test]
fn failures_have_the_same_classes() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}/");
    let (refused, _) = summary(&[&url, "-r", "20", "-d", "500ms", "--http2"]);
    assert_eq!(refused.requests.errors.refused, 10, "{:?}", refused.requests);
    let silent = crate::server::Server::start(|stream, served| {
        while !served.is_stopped() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        drop(stream);
    });
    let (late, _) = summary(&[&silent.url(), "-r", "20", "-d", "500ms", "--http2", "-t", "200ms"]);
    assert_eq!(late.requests.errors.timeout, 10, "{:?}", late.requests);
}
