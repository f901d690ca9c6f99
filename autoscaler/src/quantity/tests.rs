use super::*;

#[track_caller]
fn check_canonical(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let got = Quantity::parse(text).map(|q| q.to_string());
        assert_eq!(got.as_deref(), Ok(*expected), "{text}");
    }
}

#[test]
fn canonical_form_has_no_fraction_and_the_largest_suffix() {
    check_canonical(&[
        ("0", "0"),
        ("0.0", "0"),
        ("-0", "0"),
        ("+5", "5"),
        ("1000", "1k"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1.5", "1500m"),
        ("0.5", "500m"),
        ("100u", "100u"),
        ("12345678n", "12345678n"),
        ("2e3", "2e3"),
        ("2E3", "2e3"),
        ("12e-1", "1200e-3"),
        ("1e4", "10e3"),
        ("1.1E", "1100P"),
        ("1E", "1E"),
        ("-1.5", "-1500m"),
        ("00012", "12"),
        ("100000000000000000000000", "100e21"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
    ]);
}

#[test]
fn binary_suffixes_take_out_factors_of_1024() {
    check_canonical(&[
        ("1Ki", "1Ki"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("1023Ki", "1023Ki"),
        ("2048Ei", "9223372036854775807"),
        ("8Ei", "9223372036854775807"),
        ("-8Ei", "-9223372036854775807"),
        ("7Ei", "7Ei"),
        ("0.5Ki", "512"),
        ("0.0001Ki", "102400u"),
        ("1.0001Ki", "1024102400u"),
        ("1Mi", "1Mi"),
        ("1000Ki", "1000Ki"),
        ("0Ki", "0"),
        ("0Ei", "0"),
    ]);
}

#[test]
fn finer_than_a_billionth_is_rounded_away_from_zero() {
    check_canonical(&[
        ("0.9n", "1n"),
        ("1.1n", "2n"),
        ("-0.1n", "-1n"),
        ("1e-12", "1e-9"),
        ("0.0000000001", "1n"),
        ("0.0000000019", "2n"),
    ]);
}

#[test]
fn upstream_reads_a_missing_number_as_zero() {
    check_canonical(&[(".", "0"), ("+", "0"), ("m", "0"), ("Ki", "0"), ("1.", "1"), (".5", "500m"), ("5.k", "5k")]);
}

#[test]
fn illegal_quantities_have_the_error_texts_of_the_api_machinery() {
    let format = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let suffix = "unable to parse quantity's suffix";
    for (text, expected) in [
        ("", format),
        ("abc", format),
        ("1 000", format),
        (" 1", format),
        ("1.2.3", format),
        ("1,5", format),
        ("1Kx", format),
        ("\u{661}", format),
        ("1K", suffix),
        ("1mi", suffix),
        ("1e", suffix),
        ("1e+", suffix),
        ("1ki", suffix),
        ("1eE", suffix),
        ("1e99999999999999999999", suffix),
        ("1e1000000001", suffix),
        ("1+", suffix),
        ("1m5", suffix),
        ("--1", suffix),
        ("Ei", "unable to parse numeric part of quantity"),
    ] {
        assert_eq!(
            Quantity::parse(text).map(|q| q.to_string()).map_err(|e| e.to_string()),
            Err(expected.into()),
            "{text}"
        );
    }
}

#[test]
fn milli_rounds_away_from_zero_and_overflows_as_go_does() {
    for (text, expected) in [
        ("1", 1000),
        ("1u", 1),
        ("-1u", -1),
        ("1001u", 2),
        ("1e-9", 1),
        ("1Ki", 1_024_000),
        ("0", 0),
        ("1E", 0),
        ("9223372036854775807", -1000),
        ("9223372036854775.807", 9_223_372_036_854_775_807),
        ("1e30", 0),
        ("1e1000000000", 0),
        // Only numbers of many digits: `-1u` above is one of few.
        ("-0.1234567891", -122),
        ("-0.0000000001", 1),
        ("-12345678901.00000001", -12_345_678_901_000),
        ("12345678901.00000001", 12_345_678_901_001),
    ] {
        assert_eq!(Quantity::parse(text).map(|q| q.milli()), Ok(expected), "{text}");
    }
}

#[test]
fn a_float_is_the_mantissa_times_a_power_of_ten() {
    let float = |text: &str| Quantity::parse(text).map(|q| q.approximate_f64());
    assert_eq!(float("0.3"), Ok(0.30000000000000004));
    assert_eq!(float("300m"), Ok(0.3));
    assert_eq!(float("5"), Ok(5.0));
    assert_eq!(float("1e-3"), Ok(0.001));
}

#[test]
fn quantities_compare_by_value() {
    let q = |text: &str| Quantity::parse(text).expect(text);
    assert_eq!(q("1000m"), q("1"));
    assert_eq!(q("1Ki"), q("1024"));
    assert_eq!(q("0"), q("-0.000"));
    assert!(q("-1") < q("0") && q("0") < q("1n") && q("1023") < q("1Ki") && q("-2") < q("-1"));
    assert!(q("1e30") > q("999999999999999999999999999999"));
}

#[test]
fn canonical_form_is_a_fixed_point() {
    for text in ["1.5Gi", "12345678901234567890n", "2e3", "-0.5", "1000E", "1.0001Ki", "33e-10"] {
        let once = Quantity::parse(text).expect(text).to_string();
        let twice = Quantity::parse(&once).expect(&once).to_string();
        assert_eq!(once, twice, "{text}");
    }
}
