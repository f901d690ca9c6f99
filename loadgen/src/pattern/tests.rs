use super::*;

#[test]
fn patterns_parse_and_print_back_the_same() {
    for text in [
        "constant 100 30s",
        "ramp 10..500 1m, hold 2m, spike 1500 10s, hold 30s",
        "step 50..250 x5 1m",
        "sine 50..150 5m every 1m",
        "diurnal 10..100 10m every 5m",
        "exponential 1..100 1m, logarithmic 100..1 1m, pause 5s",
        "loop 10m (sine 50..150 1m every 1m) * ramp 1..3 10m + burst 500 5s every 1m + noise 5% every 1s",
        "(ramp 1..2 10s, hold 5s) * 2.5",
        "constant 10 1s * (constant 1 1s + noise uniform 10% every 500ms)",
        "replay \"trace.csv\" times speed 2 amplitude 0.5",
        "constant 5 1s, (constant 1 1s + constant 2 1s)",
    ] {
        let parsed: Pattern = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let printed = parsed.to_string();
        assert_eq!(printed.parse::<Pattern>().unwrap(), parsed, "{text} -> {printed}");
    }
}

#[test]
fn short_forms_are_understood() {
    assert_eq!("constant 1.5k/s 90s".parse::<Pattern>().unwrap(), Pattern::constant(1500.0, Span::from_secs(90)));
    assert_eq!("sine 0..10 60s".parse::<Pattern>().unwrap().to_string(), "sine 0..10 1m every 1m");
    assert_eq!(
        "constant 1 1s + noise 2.5%".parse::<Pattern>().unwrap().to_string(),
        "constant 1 1s + noise 2.5% every 1s"
    );
}

#[track_caller]
fn refused(text: &str, column: usize, word: &str) {
    let error = text.parse::<Pattern>().unwrap_err();
    assert_eq!(error.column, column, "{text}: {error}");
    assert!(error.to_string().contains(word), "{text}: {error}");
}

#[test]
fn a_bad_pattern_names_the_place_and_what_was_expected() {
    refused("", 1, "expected constant");
    refused("hold 5s", 1, "nothing to hold");
    refused("ramp 10..500", 13, "duration");
    refused("ramp 10 60s", 9, "`..`");
    refused("ramp 10..x 60s", 10, "rate");
    refused("constant 10 60", 13, "60");
    refused("constant 10 60s,", 17, "expected constant");
    refused("constant 10 60s, wobble 3s", 18, "wobble");
    refused("constant 10 0s", 13, "zero");
    refused("constant 99999999 1s", 10, "more than");
    refused("step 1..2 5s", 11, "x5");
    refused("step 1..2 x1 5s", 12, "from 2");
    refused("noise 5%", 1, "no length");
    refused("constant 1 1s, noise 5%", 16, "`+`");
    refused("constant 1 1s * noise 5%", 1, "share of the rest");
    refused("constant 1 1s + noise 5", 24, "%");
    refused("constant 1 1s + burst 5 10s every 5s", 35, "overlap");
    refused("(constant 1 1s", 15, ")");
    refused("constant 1 1s)", 14, ")");
    refused("exponential 0..5 1s", 13, "zero");
    refused("loop 5s constant 1 1s", 9, "(");
    refused("constant 1e5 1s", 11, "e5");
    refused(&"(".repeat(40), 17, "deep");
}

#[test]
fn a_yaml_list_of_stages_is_a_sequence_and_errors_reach_the_reader() {
    let list: Pattern = serde_yaml::from_str("[ramp 1..5 10s, hold 5s]").unwrap();
    assert_eq!(list, "ramp 1..5 10s, hold 5s".parse().unwrap());
    let error = serde_yaml::from_str::<Pattern>("ramp 1..5 10").unwrap_err().to_string();
    assert!(error.contains("column 11") && error.contains("ramp 1..5 10"), "{error}");
    let error = serde_yaml::from_str::<Pattern>("5").unwrap_err().to_string();
    assert!(error.contains("text"), "{error}");
}

#[test]
fn a_recording_is_read_and_a_bad_line_is_named() {
    let mut replay = Replay::new("x.csv".to_owned());
    replay.read("time,rate\n0.5,10\n1.5,20\n2.5,30\n").unwrap();
    assert_eq!(replay.kind, ReplayKind::Rates(vec![(0.0, 1.0, 10.0), (1.0, 2.0, 20.0), (2.0, 3.0, 30.0)]));
    replay.read("0;10\n2;20\n").unwrap();
    assert_eq!(replay.kind, ReplayKind::Rates(vec![(0.0, 2.0, 10.0), (2.0, 4.0, 20.0)]));
    replay.speed = 2.0;
    assert_eq!(replay.length(), Span::from_secs(2));
    for (text, word) in [
        ("0,1\nx,2\n", "line 2"),
        ("0,1\n1,-2\n", "line 2"),
        ("5,1\n1,2\n", "before"),
        ("0,1\n", "two lines"),
        ("1,1\n1,1\n", "same"),
        ("0,1\n2026-02-31,1\n", "line 2"),
        ("0,1\n2026-01-01T00:00,1\n", "line 2"),
        ("0,1\n2026-13-01T00:00:00Z,1\n", "line 2"),
    ] {
        let error = replay.read(text).unwrap_err();
        assert!(error.contains(word), "{text:?}: {error}");
    }
}

#[test]
fn a_recorded_time_may_be_a_moment_or_count_smaller_units() {
    let recorded = |text: &str| {
        let mut replay = Replay::new("x.csv".to_owned());
        replay.set_times();
        replay.read(text).unwrap();
        let ReplayKind::Times(times) = replay.kind else { panic!() };
        times.iter().map(|time| (time * 1e3).round() as i64).collect::<Vec<_>>()
    };
    assert_eq!(recorded("1790000000.5\n1790000002\n"), [0, 1500]);
    assert_eq!(recorded("1790000000500\n1790000002000\n"), [0, 1500]);
    assert_eq!(recorded("1790000000500000\n1790000002000000\n"), [0, 1500]);
    assert_eq!(recorded("1790000000500000000\n1790000002000000000\n"), [0, 1500]);
    assert_eq!(recorded("\u{feff}0\r\n0.25\r\n"), [0, 250]);
    // Across a leap day and from one zone to another.
    let moments = "time\n2028-02-28T23:59:59.5Z\n\"2028-03-01T01:00:00+01:00\"\n2028-02-29 22:30:01-01:30\n";
    assert_eq!(recorded(moments), [0, 86_400_500, 86_401_500]);
    let mut since_1970 = Replay::new("x.csv".to_owned());
    since_1970.set_times();
    since_1970.read("0\n1970-01-02T00:00:01Z\n").unwrap();
    assert_eq!(since_1970.length(), Span::from_secs(86_401));
}
