//! Every route, with good and with bad input.

use serde_json::Value;

use crate::process::{Service, command};

#[track_caller]
fn check(service: &Service, target: &str, status: u16, body: &str) {
    let answer = service.get(target);
    assert_eq!((answer.status, answer.body.as_str()), (status, body), "{target}");
    assert_eq!(answer.header("x-pod-name"), Some("pod-under-test"), "{target}");
}

#[test]
fn the_root_says_which_pod_and_version_answers() {
    let service = Service::start(&[("SWELL_VERSION", "1.2.3"), ("WORKERS", "3")]);
    let answer = service.get("/");
    assert_eq!(answer.status, 200);
    let about: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(about["pod"], "pod-under-test");
    assert_eq!(about["version"], "1.2.3");
    assert_eq!(about["workers"], 3);
}

#[test]
fn work_answers_the_digest_of_the_chain() {
    let service = Service::start(&[]);
    // sha256sum over 32 zero bytes, and again over its own binary output.
    check(&service, "/work?iterations=1", 200, "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925\n");
    check(&service, "/work?iterations=2", 200, "2b32db6c2c0a6235fb1397e8225ea85e0f0e6e8c7b126d0016ccbde0e667151e\n");
}

#[test]
fn load_burns_the_cpu_time_that_it_says() {
    let service = Service::start(&[]);
    let before_s = service.metric("process_cpu_seconds_total");
    check(&service, "/load?millis=50", 200, "burnt 50 ms of CPU time\n");
    let spent_s = service.metric("process_cpu_seconds_total") - before_s;
    assert!(spent_s >= 0.05, "asked for 50 ms of CPU time, spent {spent_s} s");
}

#[test]
fn bad_parameters_are_refused_with_their_name_and_range() {
    let service = Service::start(&[]);
    let iterations = "iterations must be a whole number from 1 to 10000000";
    let millis = "millis must be a whole number from 1 to 10000";
    check(&service, "/work", 400, &format!("{iterations}; it is missing\n"));
    check(&service, "/work?iteration=5", 400, &format!("{iterations}; it is missing\n"));
    check(&service, "/work?iterations=0", 400, &format!("{iterations}, not \"0\"\n"));
    check(&service, "/work?iterations=10000001", 400, &format!("{iterations}, not \"10000001\"\n"));
    check(&service, "/work?iterations=1e3", 400, &format!("{iterations}, not \"1e3\"\n"));
    check(&service, "/load", 400, &format!("{millis}; it is missing\n"));
    check(&service, "/load?millis=0.5", 400, &format!("{millis}, not \"0.5\"\n"));
    check(&service, "/load?millis=1&millis=2", 400, &format!("{millis}; it is given 2 times\n"));
}

#[test]
fn unknown_paths_and_methods_name_the_pod_too() {
    let service = Service::start(&[]);
    let routes = "there are / and /work?iterations=N and /load?millis=N and /healthz and /readyz and /metrics\n";
    check(&service, "/nope", 404, routes);
    check(&service, "/works", 404, routes);
    let mut connection = service.connect();
    connection.send("POST /work?iterations=1 HTTP/1.1\r\nHost: it\r\nContent-Length: 0\r\n\r\n");
    let posted = connection.answer();
    assert_eq!((posted.status, posted.header("x-pod-name")), (405, Some("pod-under-test")));
    assert_eq!(posted.body, "every route takes GET only\n");
}

#[test]
fn health_and_readiness_are_plain() {
    let service = Service::start(&[]);
    check(&service, "/healthz", 200, "ok\n");
    check(&service, "/readyz", 200, "ready\n");
    for target in ["/healthz?verbose", "/readyz?x=%zz"] {
        assert_eq!(service.get(target).status, 200, "{target}");
    }
}

#[test]
fn metrics_count_requests_by_method_path_and_code() {
    let service = Service::start(&[]);
    let mut connection = service.connect();
    connection.get("/work?iterations=1");
    connection.get("/work?iterations=1");
    connection.get("/work?iterations=x");
    connection.get("/nope");
    for (series, wanted) in [
        (r#"http_requests_total{method="GET",path="/work",code="200"}"#, 2.0),
        (r#"http_requests_total{method="GET",path="/work",code="400"}"#, 1.0),
        (r#"http_requests_total{method="GET",path="other",code="404"}"#, 1.0),
        (r#"http_request_duration_seconds_count{path="/work"}"#, 3.0),
        (r#"http_request_duration_seconds_bucket{path="/work",le="+Inf"}"#, 3.0),
        ("work_queue_depth", 0.0),
        ("work_queue_capacity", 128.0),
        // The request that reads the metrics does not count itself.
        ("http_requests_in_flight", 0.0),
    ] {
        assert_eq!(service.metric(series), wanted, "{series}");
    }
}

#[test]
fn one_connection_carries_many_requests() {
    let service = Service::start(&[]);
    let mut connection = service.connect();
    for _ in 0..100 {
        let answer = connection.get("/work?iterations=1");
        assert_eq!((answer.status, answer.header("connection")), (200, None));
    }
}

#[test]
fn the_log_level_decides_what_is_written() {
    let mut talkative = Service::start(&[("LOG_LEVEL", "debug")]);
    talkative.get("/healthz");
    let line = talkative.next_log();
    assert_eq!((&line["level"], &line["message"]), (&"debug".into(), &"request".into()), "{line}");
    assert_eq!((&line["path"], &line["code"]), (&"/healthz".into(), &200.into()), "{line}");
    assert_eq!(line["pod"], "pod-under-test");

    let mut usual = Service::start(&[]);
    usual.get("/healthz");
    usual.terminate();
    assert_eq!(usual.next_log()["message"], "draining", "no request is logged at info");
}

#[test]
fn what_it_cannot_serve_with_is_said_in_one_line_and_exit_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for (name, value, expected) in [
        ("QUEUE", "x", "QUEUE is \"x\"; it takes a whole number from 0 to 1000000".to_owned()),
        ("POD_NAME", "a\nb", "POD_NAME is \"a\\nb\", which cannot be a header's value".to_owned()),
        ("PORT", port.as_str(), format!("cannot listen on 127.0.0.1:{port}; PORT names another port")),
    ] {
        let output = command(&[(name, value)]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{name}={value}");
        let line: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
        let error = line["error"].as_str().expect("an error");
        assert!(error.starts_with(&expected), "{error:?} does not start with {expected:?}");
    }
}
