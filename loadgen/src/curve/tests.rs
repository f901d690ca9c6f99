use super::*;

fn curve(text: &str) -> Curve {
    Curve::new(&text.parse().unwrap(), 1).unwrap()
}

#[track_caller]
fn rates(text: &str, expected: &[(f64, f64)]) {
    let curve = curve(text);
    for (at_s, rate) in expected {
        let got = curve.rate_at(*at_s);
        assert!((got - rate).abs() < 0.01 * rate.max(0.1), "{text} at {at_s} s: {got}, not {rate}");
    }
}

#[test]
fn each_stage_has_its_shape() {
    rates("constant 100 10s", &[(0.0, 100.0), (9.99, 100.0), (10.0, 0.0)]);
    rates("ramp 10..110 10s", &[(0.0, 10.0), (5.0, 60.0), (9.999, 110.0)]);
    rates("step 50..250 x5 10s", &[(0.0, 50.0), (1.99, 50.0), (2.0, 100.0), (9.99, 250.0)]);
    rates("constant 10 1s, spike 100 1s, hold 1s", &[(0.5, 10.0), (1.0, 100.0), (1.999, 100.0), (2.0, 10.0)]);
    rates("ramp 0..8 1s, hold 1s, pause 1s, hold 1s", &[(1.5, 8.0), (2.5, 0.0), (3.5, 8.0)]);
    rates("sine 0..10 10s every 10s", &[(0.0, 0.0), (2.5, 5.0), (5.0, 10.0), (7.5, 5.0)]);
    rates("diurnal 0..100 24s", &[(3.0, 0.0), (15.0, 100.0), (12.0, 80.0)]);
    rates("exponential 1..100 10s", &[(0.0, 1.0), (5.0, 10.0), (9.999, 100.0)]);
    rates("logarithmic 0..10 10s", &[(0.0, 0.0), (5.0, 6.201), (9.999, 10.0)]);
}

#[test]
fn season_times_trend_plus_burst_composes() {
    let text = "loop 20s (constant 10 1s, constant 20 1s) * ramp 1..3 20s + burst 100 2s every 10s";
    rates(text, &[(2.5, 10.0 * 1.25), (3.5, 20.0 * 1.35), (1.0, 100.0 + 22.0), (10.5, 50.0 + 10.0 * 2.05)]);
    rates("constant 10 10s * ramp 1..2 5s", &[(2.5, 15.0), (7.5, 20.0)]);
    rates("constant 10 10s + constant 5 5s", &[(2.5, 15.0), (7.5, 10.0)]);
    rates("constant 10 10s * 2.5", &[(5.0, 25.0)]);
}

#[test]
fn noise_is_centred_seeded_and_drawn_anew_each_step() {
    let pattern = "constant 100 1000s + noise 10% every 1s".parse().unwrap();
    let (one, same, other) = (Curve::new(&pattern, 1), Curve::new(&pattern, 1), Curve::new(&pattern, 2));
    assert_eq!(one, same);
    assert_ne!(one, other);
    let curve = one.unwrap();
    let draws: Vec<f64> = (0..1000).map(|k| curve.rate_at(k as f64 + 0.5)).collect();
    let mean = draws.iter().sum::<f64>() / 1000.0;
    let deviation = (draws.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / 1000.0).sqrt();
    assert!((mean - 100.0).abs() < 1.0 && (deviation - 10.0).abs() < 1.0, "mean {mean}, deviation {deviation}");
}

#[test]
fn the_moment_of_an_arrival_inverts_the_count_of_arrivals() {
    let curve = curve("ramp 0..100 10s, pause 2s, constant 50 10s");
    assert!((curve.arrivals() - 1000.0).abs() < 1e-6);
    let mut piece = 0;
    for (count, expected_s) in [(0.0, 0.0), (125.0, 5.0), (499.999_999, 10.0), (500.001, 12.0), (750.0, 17.0)] {
        let moment_s = curve.moment_of(count, &mut piece).unwrap();
        assert!((moment_s - expected_s).abs() < 1e-3, "{count}: {moment_s} s");
    }
    assert_eq!(curve.moment_of(1001.0, &mut piece), None);
}

#[test]
fn a_pattern_with_endless_pieces_is_refused() {
    let pattern = "constant 1 10h + noise 5% every 1ms".parse().unwrap();
    assert!(Curve::new(&pattern, 1).unwrap_err().contains("pieces"));
}
