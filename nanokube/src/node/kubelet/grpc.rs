//! The gRPC probe: one `grpc.health.v1.Health/Check` over plain HTTP/2, in the words of the kubelet.
//!
//! The two messages have one field each, so their bytes are written and read here: a request is field 1, the service's
//! name; an answer is field 1, the status, of which 1 is SERVING and 0, the default, is not sent.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const UNIMPLEMENTED: &str = "12";
/// Names of services that are longer have a length of several bytes, which nobody has.
const SERVICE_BYTES_MAX: usize = 127;

pub(super) async fn check(stream: TcpStream, address: SocketAddr, service: &str) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("error: health rpc probe failed: {error}");
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| format!("error: failed to connect service at {:?}: {error}", address.to_string()))?;
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(request(service)?))
        .map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let headers = response.headers().clone();
    let body = response.into_body().collect().await.map_err(|error| failed(&error))?;
    connection.abort();
    // A call that fails at once has its status among the headers.
    verdict(body.trailers().unwrap_or(&headers))?;
    status(&body.to_bytes())
}

/// A message not compressed, of so many bytes.
fn request(service: &str) -> Result<Bytes, String> {
    let Some(length) = u8::try_from(service.len()).ok().filter(|it| usize::from(*it) <= SERVICE_BYTES_MAX) else {
        return Err(format!("the name of the service is longer than {SERVICE_BYTES_MAX} bytes"));
    };
    let message = if length == 0 { Vec::new() } else { [&[0x0a, length], service.as_bytes()].concat() };
    let size = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
    Ok(Bytes::from([&[0], &size[..], &message].concat()))
}

fn verdict(trailers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => Ok(()),
        UNIMPLEMENTED => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            text("grpc-message")
        )),
        code => {
            Err(format!("error: health rpc probe failed: rpc error: code = {code} desc = {}", text("grpc-message")))
        }
    }
}

fn status(body: &[u8]) -> Result<(), String> {
    let status = match body.get(5..) {
        Some([0x08, status, ..]) => usize::from(*status),
        _ => 0,
    };
    match STATUSES.get(status) {
        Some(&"SERVING") => Ok(()),
        name => Err(format!("service unhealthy (responded with {:?})", name.unwrap_or(&"UNKNOWN"))),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Response};
    use http_body_util::combinators::WithTrailers;
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    use super::*;

    type Answer = WithTrailers<Full<Bytes>, std::future::Ready<Option<Result<HeaderMap, std::convert::Infallible>>>>;

    fn answer(service: &[u8]) -> Response<Answer> {
        let (code, status) = match service {
            b"" => ("0", 1),
            b"ill" => ("0", 2),
            b"none" => ("12", 0),
            _ => ("5", 0),
        };
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(code));
        trailers.insert("grpc-message", HeaderValue::from_static("said so"));
        let body = Full::new(Bytes::from(vec![0, 0, 0, 0, 2, 0x08, status]));
        Response::new(body.with_trailers(std::future::ready(Some(Ok(trailers)))))
    }

    async fn serve(listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<hyper::body::Incoming>| async {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let body = request.into_body().collect().await?.to_bytes();
                Ok::<_, hyper::Error>(answer(body.get(7..).unwrap_or_default()))
            });
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(async move {
                // The client goes when it has its answer.
                let _ = serving.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    #[tokio::test]
    async fn a_service_is_healthy_when_it_says_that_it_serves() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener));
        let unimplemented =
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): said so";
        let cases = [
            ("", Ok(())),
            ("ill", Err("service unhealthy (responded with \"NOT_SERVING\")")),
            ("none", Err(unimplemented)),
            ("other", Err("error: health rpc probe failed: rpc error: code = 5 desc = said so")),
        ];
        for (service, expected) in cases {
            let stream = TcpStream::connect(address).await.unwrap();
            assert_eq!(check(stream, address, service).await, expected.map_err(str::to_owned), "{service}");
        }
    }
}
