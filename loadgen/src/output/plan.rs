//! The planned rate as a chart, before anything is sent.

use crate::curve::Curve;
use crate::output::plot::columns;
use crate::pattern::Pattern;

const WIDTH: usize = 72;
const HEIGHT: usize = 10;

pub fn chart(pattern: &Pattern, curve: &Curve) -> String {
    let length_s = curve.length().as_secs_f64();
    let rates: Vec<f64> =
        (0..WIDTH * 4).map(|k| curve.rate_at(length_s * (k as f64 + 0.5) / (WIDTH * 4) as f64)).collect();
    let peak = curve.peak_rate();
    let mut text = format!("{pattern}\n\n");
    for (row, line) in columns(&rates, WIDTH, HEIGHT).into_iter().enumerate() {
        let label = match row {
            0 => format!("{peak:.0}/s"),
            _ if row == HEIGHT / 2 => format!("{:.0}/s", peak / 2.0),
            _ => String::new(),
        };
        text.push_str(&format!("{label:>9} │{}\n", line.trim_end()));
    }
    text.push_str(&format!("{:>9} └{}\n", 0, "─".repeat(WIDTH)));
    text.push_str(&format!("{:>11}{:<36}{:>36}\n", "", "0", curve.length().to_string()));
    text.push_str(&format!(
        "\n{:.0} requests, {:.1} per second on average, {peak:.1} at the peak\n",
        curve.arrivals(),
        curve.arrivals() / length_s
    ));
    text
}
