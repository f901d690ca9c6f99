//! From flags to a job: a scenario if one is named, then every flag that was given.

use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use crate::cli::Failure;
use crate::cli::flags::RunFlags;
use crate::engine::Job;
use crate::engine::target::Target;
use crate::load::{Load, Request, Sessions, validate_header};
use crate::part::Part;
use crate::pattern::{NAMED_PATTERNS, Pattern};
use crate::scenario::Scenario;
use crate::span::Span;
use crate::text::{Cursor, TextError};

const DURATION: Span = Span::from_secs(10);
/// In the year 2512; microseconds and nanoseconds of today lie beyond it.
const START_AT_MAX_MS: u64 = 17_100_000_000_000;

/// The job that the flags ask for.
pub fn job(flags: &RunFlags) -> Result<Job, Failure> {
    let url = flags.url.clone().unwrap_or_default();
    Target::parse(&url).map_err(Failure::Usage)?;
    let load = load(flags)?;
    if flags.shards == Some(0) {
        return Err(Failure::Usage("--shards: must be at least 1".to_owned()));
    }
    if let Some(at) = flags.start_at.filter(|at| *at > START_AT_MAX_MS) {
        return Err(Failure::Usage(format!(
            "--start-at: {at} is not milliseconds since 1970; `date +%s%3N` prints them"
        )));
    }
    let part = flags.part.as_deref().map(str::parse::<Part>).transpose();
    let part = part.map_err(|error| Failure::Usage(format!("--part: {error}")))?;
    Ok(Job {
        url,
        load,
        addresses: flags.targets.clone(),
        pod_header: flags.pod_header.clone(),
        shards: flags.shards,
        part: part.unwrap_or_default(),
        start_at_unix_ms: flags.start_at,
        http2: flags.http2,
        insecure: flags.insecure,
        cacert: flags.cacert.clone(),
    })
}

/// The load that the flags ask for.
pub fn load(flags: &RunFlags) -> Result<Load, Failure> {
    let mut load = match &flags.scenario {
        Some(path) => read_scenario(path)?.load,
        None => Load::default(),
    };
    set_shape(&mut load, flags).map_err(Failure::Usage)?;
    set_requests(&mut load, flags).map_err(Failure::Usage)?;
    set_connections(&mut load, flags).map_err(Failure::Usage)?;
    for text in &flags.thresholds {
        load.thresholds.push(parse("--threshold", text).map_err(Failure::Usage)?);
    }
    if let Some(text) = &flags.slo {
        load.slo = Some(parse("--slo", text).map_err(Failure::Usage)?);
    }
    if let Some(iterations_per_ms) = flags.iterations_per_ms {
        if !(iterations_per_ms > 0.0 && iterations_per_ms.is_finite()) {
            return Err(Failure::Usage(format!("--iterations-per-ms: {iterations_per_ms} is not a positive number")));
        }
        load.calibrate(iterations_per_ms);
    }
    if load.needs_calibration() {
        let message = "the requests contain {iterations}; say --iterations-per-ms for the service at hand";
        return Err(Failure::Usage(message.to_owned()));
    }
    load.validate().map_err(Failure::Usage)?;
    Ok(load)
}

fn read_scenario(path: &Path) -> Result<Scenario, Failure> {
    // A container has a command line, and not always a file.
    if let Some(text) = path.to_str().filter(|text| text.starts_with('{')) {
        let scenario = Scenario::parse(text, Path::new("."));
        return scenario.map_err(|error| Failure::Usage(format!("scenario on the command line: {error}")));
    }
    if path != Path::new("-") {
        return Scenario::read(path).map_err(Failure::Usage);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| Failure::CouldNotRun(error.into()))?;
    Scenario::parse(&text, Path::new("."))
        .map_err(|error| Failure::Usage(format!("scenario on standard input: {error}")))
}

fn set_shape(load: &mut Load, flags: &RunFlags) -> Result<(), String> {
    let rate = flags.rate.as_deref().map(parse_rate).transpose()?;
    let duration = flags.duration.as_deref().map(|text| span("--duration", text)).transpose()?;
    if let Some(concurrency) = flags.concurrency {
        load.pattern = None;
        load.concurrency = Some(concurrency);
        load.duration = Some(duration.or(load.duration).unwrap_or(DURATION));
    } else if let Some(text) = &flags.pattern {
        (load.concurrency, load.duration) = (None, None);
        load.pattern = Some(pattern(text, rate, duration)?);
    } else if let Some(rate) = rate {
        let length = duration.or(load.length()).unwrap_or(DURATION);
        (load.concurrency, load.duration) = (None, None);
        load.pattern = Some(Pattern::constant(rate, length));
    } else if let Some(duration) = duration {
        match load.concurrency {
            Some(_) => load.duration = Some(duration),
            None => return Err("--duration: say --rate or --concurrency with it".to_owned()),
        }
    } else if load.pattern.is_none() && load.concurrency.is_none() {
        return Err("say --rate (open loop), --concurrency (closed loop), --pattern or --scenario".to_owned());
    }
    if let Some(text) = &flags.arrivals {
        load.arrivals = text.parse().map_err(|error| format!("--arrivals: {error}"))?;
    }
    if let Some(seed) = flags.seed {
        load.seed = seed;
    }
    if let Some(text) = &flags.session_requests {
        let think = flags.think.as_deref().unwrap_or("1s");
        load.sessions = Some(Sessions { requests: range("--session-requests", text)?, think: span("--think", think)? });
    }
    Ok(())
}

fn pattern(text: &str, rate: Option<f64>, duration: Option<Span>) -> Result<Pattern, String> {
    let name = text.trim();
    if NAMED_PATTERNS.contains(&name) {
        let rate = rate.ok_or_else(|| format!("--pattern {name}: needs --rate, its peak"))?;
        let named = Pattern::named(name, rate, duration.unwrap_or(DURATION));
        return named.ok_or_else(|| format!("--pattern {name}: is not known"));
    }
    let mut pattern: Pattern = parse("--pattern", text)?;
    if rate.is_some() || duration.is_some() {
        return Err("--pattern: this one says its own rates and lengths; leave out --rate and --duration".to_owned());
    }
    pattern.load_files(Path::new("."))?;
    Ok(pattern)
}

fn set_requests(load: &mut Load, flags: &RunFlags) -> Result<(), String> {
    if let Some(text) = &flags.timeout {
        load.timeout = span("--timeout", text)?;
    }
    if !flags.requests.is_empty() {
        load.requests = flags.requests.iter().map(|text| request(text)).collect::<Result<_, _>>()?;
    }
    for request in &mut load.requests {
        for header in &flags.headers {
            let (name, value) =
                header.split_once(':').ok_or_else(|| format!("--header \"{header}\": expected \"name: value\""))?;
            let (name, value) = (name.trim(), value.trim());
            validate_header(name, value).map_err(|error| format!("--header: {error}"))?;
            request.headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        if let Some(method) = &flags.method {
            request.method = method.clone();
        }
        if let Some(body) = &flags.body {
            request.body = Some(body.clone());
            if flags.method.is_none() && request.method == "GET" {
                request.method = "POST".to_owned();
            }
        }
        request.validate().map_err(|error| format!("request: {error}"))?;
    }
    Ok(())
}

fn request(text: &str) -> Result<Request, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [weight, method, path] = words[..] else {
        return Err(format!("--request \"{text}\": expected \"WEIGHT METHOD PATH\", such as \"3 GET /items\""));
    };
    let weight = weight.parse().map_err(|_| format!("--request \"{text}\": `{weight}` is not a weight"))?;
    Ok(Request { weight, method: method.to_owned(), path: path.to_owned(), ..Request::default() })
}

fn set_connections(load: &mut Load, flags: &RunFlags) -> Result<(), String> {
    let policy = &mut load.connections;
    policy.max = flags.connections.unwrap_or(policy.max);
    policy.jitter = flags.jitter.unwrap_or(policy.jitter);
    policy.churn_per_s = flags.churn.unwrap_or(policy.churn_per_s);
    policy.backlog_max = flags.backlog.unwrap_or(policy.backlog_max);
    policy.retry_stale &= !flags.no_retry;
    policy.resolve_on_dial &= !flags.no_resolve;
    if let Some(text) = &flags.max_requests {
        policy.max_requests = Some(range("--max-requests", text)?);
    }
    if let Some(text) = &flags.max_age {
        policy.max_age = Some(span("--max-age", text)?);
    }
    Ok(())
}

fn parse<T: FromStr<Err = TextError>>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error: TextError| format!("{flag} \"{text}\" {error}\n{}", error.caret_under(text)))
}

fn span(flag: &str, text: &str) -> Result<Span, String> {
    match text.parse::<Span>() {
        Ok(span) if span.as_ns() > 0 => Ok(span),
        Ok(_) => Err(format!("{flag}: a duration of zero does nothing")),
        Err(error) => Err(format!("{flag}: {error}")),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let mut cursor = Cursor::new(text);
    let rate = cursor.rate().map_err(|_| format!("--rate: `{text}` is not a rate; write it like 500 or 1.5k"))?;
    match cursor.at_end() && rate > 0.0 {
        true => Ok(rate),
        false => Err(format!("--rate: `{text}` is not a rate; write it like 500 or 1.5k")),
    }
}

/// `5` or `5..15`.
fn range(flag: &str, text: &str) -> Result<[u32; 2], String> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    match (low.trim().parse(), high.trim().parse()) {
        (Ok(low), Ok(high)) if 0 < low && low <= high => Ok([low, high]),
        _ => Err(format!("{flag}: `{text}` is not a range; write it like 5 or 5..15")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::Flags;
    use clap::Parser;

    fn load_of(args: &[&str]) -> Result<Load, String> {
        let flags = Flags::try_parse_from(["loadgen", "http://127.0.0.1:1"].iter().chain(args));
        let flags = flags.map_err(|error| error.to_string())?;
        match job(&flags.run) {
            Ok(job) => Ok(job.load),
            Err(Failure::Usage(message)) => Err(message),
            Err(Failure::CouldNotRun(error)) => panic!("{error:#}"),
        }
    }

    #[test]
    fn flags_make_a_load() {
        let load =
            load_of(&["--rate", "1.5k", "--duration", "30s", "-H", "Accept: x", "--max-requests", "5..15"]).unwrap();
        assert_eq!(load.pattern, Some(Pattern::constant(1500.0, Span::from_secs(30))));
        assert_eq!(load.requests[0].headers["accept"], "x");
        assert_eq!(load.connections.max_requests, Some([5, 15]));
        let load = load_of(&["-c", "64", "-d", "5s", "-b", "hello"]).unwrap();
        assert_eq!((load.concurrency, load.duration), (Some(64), Some(Span::from_secs(5))));
        assert_eq!(load.requests[0].method, "POST");
        let load = load_of(&["--pattern", "spike", "--rate", "100", "-d", "10s"]).unwrap();
        assert_eq!(load.pattern.unwrap().to_string(), "constant 10 4s, spike 100 2s, hold 4s");
        let load = load_of(&["-r", "1", "--request", "3 GET /a", "--request", "1 POST /b"]).unwrap();
        assert_eq!((load.requests[0].weight, load.requests[1].method.as_str()), (3.0, "POST"));
    }

    #[test]
    fn a_flag_overrides_the_scenario() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/demo.yaml");
        let load = load_of(&["--scenario", folder, "--iterations-per-ms", "1000", "--seed", "9"]).unwrap();
        assert_eq!((load.seed, load.requests[0].path.as_str()), (9, "/work?iterations=5000"));
        let load = load_of(&["--scenario", folder, "--iterations-per-ms", "1000", "--rate", "5"]).unwrap();
        assert_eq!(load.pattern.unwrap().to_string(), "constant 5 50s");
        assert!(load_of(&["--scenario", folder]).unwrap_err().contains("--iterations-per-ms"));
    }

    #[track_caller]
    fn refused(args: &[&str], word: &str) {
        let error = load_of(args).unwrap_err();
        assert!(error.contains(word), "{args:?}: {error}");
    }

    #[test]
    fn a_wrong_flag_is_named() {
        refused(&[], "--rate (open loop)");
        refused(&["--rate", "fast"], "--rate: `fast`");
        refused(&["--rate", "0"], "--rate: `0`");
        refused(&["--rate", "-5"], "'-5'");
        refused(&["--rate", "5", "--concurrency", "5"], "cannot be used with");
        refused(&["--rate", "5", "--duration", "10"], "--duration: `10`");
        refused(&["--rate", "5", "--duration", "0s"], "zero");
        refused(&["--duration", "5s"], "--duration: say --rate");
        refused(&["--concurrency", "0"], "concurrency");
        refused(&["--pattern", "ramp 1..x 5s"], "column 9");
        refused(&["--pattern", "ramp 1..x 5s"], "\n    ramp 1..x 5s\n            ^");
        refused(&["--pattern", "ramp"], "needs --rate");
        refused(&["--pattern", "hold 5s", "--rate", "5"], "column 1");
        refused(&["--pattern", "constant 5 5s", "--rate", "5"], "leave out --rate");
        refused(&["--pattern", "replay /no/such/file.csv"], "/no/such/file.csv");
        refused(&["-r", "5", "--threshold", "p99 < 5"], "--threshold \"p99 < 5\" at column 7");
        refused(&["-r", "5", "--slo", "fast"], "--slo");
        refused(&["-r", "5", "--header", "nonsense"], "--header \"nonsense\"");
        refused(&["-r", "5", "--header", "a b: c"], "a b");
        refused(&["-r", "5", "--request", "GET /"], "WEIGHT METHOD PATH");
        refused(&["-r", "5", "--max-requests", "9..3"], "--max-requests");
        refused(&["-r", "5", "--arrivals", "fish"], "--arrivals");
        refused(&["-r", "5", "--jitter", "3"], "jitter");
        refused(&["-r", "5", "--shards", "0"], "--shards");
        refused(&["-r", "5", "--start-at", "1790000000000000"], "--start-at: 1790000000000000");
        refused(&["-r", "5", "--part", "3/3"], "--part: `3/3`");
        refused(&["-r", "5", "--timeout", "1us"], "load.timeout");
        refused(&["--scenario", "/no/such.yaml"], "/no/such.yaml");
    }
}
