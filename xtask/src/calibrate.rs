//! How much work a millisecond of CPU does where the service runs, so that a scenario's cost means the same everywhere.
//!
//! Measured through the service itself, since its pods may run on another machine than this one. The shortest of many
//! answers is the one that was neither throttled nor queued; what an almost empty request takes is taken off.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::http;
use crate::problem;

const TRIES: u32 = 16;
const ITERATIONS_START: u64 = 5_000;
const ITERATIONS_MAX: u64 = 5_000_000;
/// Long enough to drown the noise of a request, short enough for the CPU quota of one period.
const WANTED: Duration = Duration::from_micros(2_000);
/// A pod at a limit of 150m may use 15 ms in 100 ms: 2 ms in 40 ms stay well below.
const PAUSE: Duration = Duration::from_millis(40);
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) async fn iterations_per_ms(base: &str, path: &str) -> Result<f64> {
    let overhead = shortest(base, path, 1).await?;
    let mut iterations = ITERATIONS_START;
    loop {
        let net = shortest(base, path, iterations).await?.saturating_sub(overhead);
        if net >= WANTED || iterations >= ITERATIONS_MAX {
            return Ok(iterations as f64 / (net.as_secs_f64() * 1e3).max(0.001));
        }
        let factor = (WANTED.as_secs_f64() * 1.5 / net.as_secs_f64().max(1e-5)).clamp(2.0, 16.0);
        iterations = (iterations as f64 * factor) as u64;
    }
}

async fn shortest(base: &str, path: &str, iterations: u64) -> Result<Duration> {
    let url = format!("{}{}", base.trim_end_matches('/'), path.replace("{iterations}", &iterations.to_string()));
    let mut shortest = LIMIT;
    for _ in 0..TRIES {
        let sent = Instant::now();
        http::get(&url, LIMIT).await.with_context(|| problem::service_unreachable(&url))?;
        shortest = shortest.min(sent.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(shortest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server that takes as many nanoseconds as iterations, times a factor.
    async fn server(ns_per_iteration: u64) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = [0; 1024];
                let n = stream.read(&mut buffer).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&buffer[..n]).into_owned();
                let digits: String =
                    head.split("iterations=").nth(1).unwrap_or("0").chars().take_while(char::is_ascii_digit).collect();
                tokio::time::sleep(Duration::from_nanos(digits.parse::<u64>().unwrap() * ns_per_iteration)).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        });
        url
    }

    #[tokio::test]
    async fn the_measured_speed_is_the_speed_of_the_service() {
        let url = server(1_000).await;
        let speed = iterations_per_ms(&url, "/work?iterations={iterations}").await.unwrap();
        // About 1 000: sleeps are rounded up to milliseconds, and a busy machine makes them longer still.
        assert!((200.0..=2_000.0).contains(&speed), "{speed}");
    }
}
