//! The requests to send, written out once.
//!
//! Which request an arrival sends depends on the seed and its place in the schedule alone, so the sequence is the
//! same on any number of shards.

use crate::arithmetic::mix as spread;
use crate::engine::target::Target;
use crate::load::{IDEMPOTENT, Load, Request};

/// A request as bytes.
#[derive(Debug)]
pub struct Prepared {
    pub bytes: Box<[u8]>,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: bytes::Bytes,
    /// The answer to a HEAD has no body, whatever its length says.
    pub no_body: bool,
    pub idempotent: bool,
}

#[derive(Debug)]
pub struct Mix {
    pub requests: Vec<Prepared>,
    /// Upper ends of the shares, scaled to 64 bits.
    ends: Vec<u64>,
    seed: u64,
}

impl Mix {
    pub fn new(load: &Load, target: &Target) -> Self {
        let total: f64 = load.requests.iter().map(|request| request.weight).sum();
        let mut sum = 0.0;
        let ends = load.requests.iter().map(|request| {
            sum += request.weight / total;
            (sum * u64::MAX as f64) as u64
        });
        Self {
            ends: ends.collect(),
            requests: load.requests.iter().map(|request| prepare(request, target)).collect(),
            seed: load.seed,
        }
    }

    /// The request of the `index`-th arrival; `step` counts within its session.
    #[inline]
    pub fn pick(&self, index: u64, step: u32) -> u16 {
        if self.requests.len() == 1 {
            return 0;
        }
        let draw = spread(self.seed ^ spread(index ^ ((step as u64) << 48)));
        self.ends.partition_point(|end| *end < draw).min(self.requests.len() - 1) as u16
    }
}

fn prepare(request: &Request, target: &Target) -> Prepared {
    let path = match (target.path.as_str(), request.path.as_str()) {
        ("", "") => "/".to_owned(),
        (path, "") => path.to_owned(),
        (prefix, path) => format!("{}{path}", prefix.trim_end_matches('/')),
    };
    let mut head = format!("{} {path} HTTP/1.1\r\n", request.method);
    if !request.headers.keys().any(|name| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("host: {}\r\n", target.host_header()));
    }
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = request.body.clone().unwrap_or_default();
    if request.body.is_some() || matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    head.push_str(&body);
    Prepared {
        bytes: head.into_bytes().into_boxed_slice(),
        method: request.method.clone(),
        path,
        headers: request.headers.clone().into_iter().collect(),
        body: body.into(),
        no_body: request.method == "HEAD",
        idempotent: IDEMPOTENT.contains(&request.method.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(requests: Vec<Request>, url: &str) -> Mix {
        Mix::new(&Load { requests, ..Load::default() }, &Target::parse(url).unwrap())
    }

    #[test]
    fn a_request_is_written_with_its_host_headers_and_body() {
        let request = Request {
            path: "/work".to_owned(),
            method: "POST".to_owned(),
            headers: [("accept".to_owned(), "text/plain".to_owned())].into(),
            body: Some("hello".to_owned()),
            ..Request::default()
        };
        let mix = mix(vec![request], "http://[::1]:80/base/");
        let text = String::from_utf8_lossy(&mix.requests[0].bytes).into_owned();
        assert_eq!(
            text,
            "POST /base/work HTTP/1.1\r\nhost: [::1]\r\naccept: text/plain\r\ncontent-length: 5\r\n\r\nhello"
        );
    }

    #[test]
    fn without_a_path_the_url_decides() {
        assert_eq!(mix(vec![Request::default()], "http://a:8080").requests[0].path, "/");
        assert_eq!(mix(vec![Request::default()], "http://a:8080/x?y=1").requests[0].path, "/x?y=1");
    }

    #[test]
    fn weights_decide_the_shares_and_the_seed_the_sequence() {
        let weighted = |weight| Request { weight, ..Request::default() };
        let mix = mix(vec![weighted(1.0), weighted(3.0)], "http://a");
        let first = (0..100_000).filter(|index| mix.pick(*index, 0) == 0).count();
        assert!((24_000..26_000).contains(&first), "{first}");
        assert_eq!(mix.pick(77, 0), mix.pick(77, 0));
    }
}
