//! Small charts out of characters.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One line of bars, the highest value full; values are joined to `width` by their maximum.
pub fn sparkline(values: &[f64], width: usize) -> String {
    let joined = join(values, width);
    let highest = joined.iter().copied().fold(0.0, f64::max);
    let level = |value: f64| match highest > 0.0 && value > 0.0 {
        true => LEVELS[((value / highest * 8.0).ceil() as usize).clamp(1, 8) - 1],
        false => ' ',
    };
    joined.into_iter().map(level).collect()
}

/// A chart of `height` lines, without axes, top line first.
pub fn columns(values: &[f64], width: usize, height: usize) -> Vec<String> {
    let joined = join(values, width);
    let highest = joined.iter().copied().fold(0.0, f64::max).max(1e-9);
    let cell = |value: f64, row: usize| {
        let eighths = (value / highest * height as f64 * 8.0).round() as usize;
        match eighths.saturating_sub(row * 8).min(8) {
            0 => ' ',
            filled => LEVELS[filled - 1],
        }
    };
    (0..height).rev().map(|row| joined.iter().map(|value| cell(*value, row)).collect()).collect()
}

/// A bar of `width` characters at most.
pub fn bar(share: f64, width: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(['▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8 - 1]);
    }
    bar
}

fn join(values: &[f64], width: usize) -> Vec<f64> {
    if values.len() <= width {
        return values.to_vec();
    }
    let range = |column: usize| column * values.len() / width..((column + 1) * values.len()).div_ceil(width);
    (0..width).map(|column| values[range(column)].iter().copied().fold(0.0, f64::max)).collect()
}

/// A time in microseconds as people read it.
pub fn time(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 100_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_scale_to_the_highest_value() {
        assert_eq!(sparkline(&[0.0, 1.0, 4.0, 8.0], 10), " ▁▄█");
        assert_eq!(sparkline(&[1.0, 9.0, 2.0, 3.0], 2), "█▃");
        assert_eq!(columns(&[2.0, 4.0], 10, 2), [" █", "██"]);
        assert_eq!(bar(0.5, 4), "██");
        assert_eq!(bar(0.3, 1), "▎");
    }

    #[test]
    fn times_carry_a_fitting_unit() {
        let shown: Vec<String> = [5.0, 1_500.0, 250_000.0, 2_500_000.0].into_iter().map(time).collect();
        assert_eq!(shown, ["5 µs", "1.50 ms", "250 ms", "2.50 s"]);
    }
}
