use super::*;

const FULL: &str = include_str!("../../tests/every-field.yaml");

fn parse(text: &str) -> Result<Scenario, String> {
    Scenario::parse(text, Path::new("."))
}

#[test]
fn a_full_scenario_survives_a_round_trip() {
    let scenario = parse(FULL).unwrap();
    let written = serde_yaml::to_string(&scenario).unwrap();
    assert_eq!(parse(&written).unwrap(), scenario, "{written}");
}

#[test]
fn calibration_fills_in_the_iterations_of_path_and_body() {
    let mut load = parse(FULL).unwrap().load;
    assert!(load.needs_calibration());
    load.calibrate(1000.4);
    assert_eq!(load.requests[0].path, "/work?iterations=5002");
    assert_eq!(load.requests[0].body.as_deref(), Some("n=5002"));
    assert!(!load.needs_calibration());
}

#[track_caller]
fn refused(from: &str, to: &str, word: &str) {
    let text = FULL.replacen(from, to, 1);
    assert_ne!(text, FULL, "`{from}` is not in the scenario");
    let error = parse(&text).unwrap_err();
    assert!(error.contains(word), "{to}: {error}");
}

#[test]
fn a_bad_scenario_names_the_field() {
    refused("seed: 7", "sead: 7", "unknown field `sead`");
    refused("final_replicas: 1", "finally: 1", "unknown field `finally`");
    refused("pace: fast", "pace: slow", "unknown variant `slow`");
    refused("hold 20s", "hold 20", "hold 20");
    refused("arrivals: poisson", "arrivals: fish", "arrivals `fish`");
    refused("timeout: 5s", "timeout: 5", "`5` is not a duration");
    refused("timeout: 5s", "concurrency: 5", "not both");
    refused("timeout: 5s", "timeout: 5us", "load.timeout");
    refused("method: POST", "method: PO ST", "load.requests[0].method");
    refused("path: /work?", "path: work?", "load.requests[0].path");
    refused("accept: text/plain", "content-length: 5", "content-length");
    refused("accept: text/plain", "\"a b\": x", "a b");
    refused("weight: 2", "weight: 0", "load.requests[0].weight");
    refused("[1, 3]", "[3, 1]", "load.sessions.requests");
    refused("max_requests: [5, 15]", "max_requests: [0, 15]", "load.connections.max_requests");
    refused("jitter: 0.2", "jitter: 2", "load.connections.jitter");
    refused("errors < 1%", "errors < lots", "bad threshold");
    refused("share_min: 0.9", "share_min: 9", "expect.new_pod_share_min");
    refused("{min: 3, max: 10}", "{min: 30, max: 10}", "expect.peak_replicas");
}

#[test]
fn a_load_says_what_it_lacks() {
    let with = |load: &str| parse(&format!("name: x\ndescription: x\nload: {load}\n")).unwrap_err();
    assert!(with("{}").contains("needs pattern"));
    assert!(with("{concurrency: 5}").contains("load.duration"));
    assert!(with("{concurrency: 0, duration: 5s}").contains("load.concurrency"));
    assert!(with("{pattern: constant 1 1s, duration: 5s}").contains("load.duration"));
    assert!(with("{concurrency: 5, duration: 5s, sessions: {requests: [1, 2], think: 1s}}").contains("sessions"));
}

#[test]
fn every_published_scenario_reads_and_bears_its_file_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let scenario = Scenario::read(&path).unwrap();
            assert_eq!(path.file_stem().unwrap().to_str(), Some(scenario.name.as_str()));
            names.push(scenario.name);
        }
    }
    names.sort();
    for name in ["demo", "quiet", "ramp", "spike", "stress", "thousand"] {
        assert!(names.iter().any(|found| found == name), "no scenario {name} in {names:?}");
    }
}
