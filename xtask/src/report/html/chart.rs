//! A line chart as SVG: one shared time axis, a scale of round numbers, gaps where nothing was measured.

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 20.0;
const TOP: f64 = 8.0;
/// More points than pixels draw the same line with more bytes.
const POINTS_MAX: usize = 900;

pub(super) struct Chart<'r> {
    title: &'r str,
    unit: &'r str,
    lines: Vec<Line>,
    level: Option<(f64, &'r str)>,
}

pub(super) struct Line {
    pub(super) name: &'static str,
    /// A colour of the style sheet.
    pub(super) ink: &'static str,
    /// Whether a value holds until the next one, as a count of pods does.
    pub(super) step: bool,
    pub(super) values: Vec<Option<f64>>,
}

impl<'r> Chart<'r> {
    pub(super) fn new(title: &'r str, unit: &'r str, lines: Vec<Line>) -> Chart<'r> {
        Chart { title, unit, lines, level: None }
    }

    pub(super) fn with_level(self, level: Option<f64>, name: &'r str) -> Chart<'r> {
        Chart { level: level.map(|level| (level, name)), ..self }
    }

    pub(super) fn svg(&self, load_end_s: f64) -> String {
        let seconds = self.lines.iter().map(|line| line.values.len()).max().unwrap_or(0).max(2) - 1;
        let highest = self.lines.iter().flat_map(|line| line.values.iter().flatten()).copied();
        let top = scale_top(highest.chain(self.level.map(|(level, _)| level)).fold(0.0, f64::max));
        let x = |t: f64| LEFT + (WIDTH - LEFT - 4.0) * t / seconds as f64;
        let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - value / top);
        let mut svg = self.caption();
        svg.push_str(&format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-label=\"{}\">", self.title));
        for quarter in 0..=4 {
            let value = top * f64::from(quarter) / 4.0;
            svg.push_str(&format!(
                "<line class=grid x1={LEFT} x2={} y1={:.1} y2={:.1} /><text x={} y={:.1} text-anchor=end>{}</text>",
                WIDTH - 4.0,
                y(value),
                y(value),
                LEFT - 6.0,
                y(value) + 4.0,
                short(value)
            ));
        }
        for tick in ticks(seconds) {
            svg.push_str(&format!(
                "<text x={:.1} y={} text-anchor=middle>{tick} s</text>",
                x(tick as f64),
                HEIGHT - 4.0
            ));
        }
        if load_end_s > 0.0 && load_end_s < seconds as f64 {
            let at = x(load_end_s);
            svg.push_str(&format!("<line class=mark x1={at:.1} x2={at:.1} y1={TOP} y2={} />", HEIGHT - BOTTOM));
        }
        if let Some((level, _)) = self.level {
            let at = y(level);
            svg.push_str(&format!("<line class=mark x1={LEFT} x2={} y1={at:.1} y2={at:.1} />", WIDTH - 4.0));
        }
        for line in &self.lines {
            svg.push_str(&line.path(&x, &y));
        }
        svg.push_str("</svg></figure>\n");
        svg
    }

    fn caption(&self) -> String {
        let keys: String = self
            .lines
            .iter()
            .map(|line| format!("<span class=key style=\"--k:var({})\">{}</span>", line.ink, line.name))
            .chain(self.level.map(|(level, name)| {
                format!("<span class=key style=\"--k:var(--dim)\">{name} {}</span>", short(level))
            }))
            .collect();
        let unit = if self.unit.is_empty() { String::new() } else { format!(" ({})", self.unit) };
        format!("<figure><figcaption><b>{}{unit}</b>{keys}</figcaption>", self.title)
    }
}

impl Line {
    fn path(&self, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> String {
        let stride = self.values.len().div_ceil(POINTS_MAX).max(1);
        let mut path = String::new();
        let mut last: Option<f64> = None;
        for (index, chunk) in self.values.chunks(stride).enumerate() {
            let value = chunk.iter().flatten().copied().reduce(f64::max);
            let t = (index * stride) as f64;
            match (last, value) {
                (None, Some(value)) => path.push_str(&format!("M{:.1} {:.1}", x(t), y(value))),
                (Some(before), Some(value)) if self.step => {
                    if (before - value).abs() > f64::EPSILON {
                        path.push_str(&format!("H{:.1}V{:.1}", x(t), y(value)));
                    } else if (index + 1) * stride >= self.values.len() {
                        path.push_str(&format!("H{:.1}", x(t)));
                    }
                }
                (Some(_), Some(value)) => path.push_str(&format!("L{:.1} {:.1}", x(t), y(value))),
                (Some(before), None) if self.step => {
                    path.push_str(&format!("H{:.1}M{:.1} {:.1}", x(t), x(t), y(before)))
                }
                (_, None) => {}
            }
            last = value;
        }
        format!(
            "<path d=\"{path}\" fill=none stroke=\"var({})\" stroke-width=2 stroke-linejoin=round><title>{}</title></path>",
            self.ink, self.name
        )
    }
}

/// 1, 2, 4 or 8 times a power of ten, at or above the highest value: quarters of it are round.
fn scale_top(highest: f64) -> f64 {
    if highest <= 4.0 {
        return 4.0;
    }
    let power = 10f64.powf(highest.log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0, 20.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|top| *top >= highest)
        .unwrap_or(highest)
}

/// About eight ticks at round seconds.
fn ticks(seconds: usize) -> impl Iterator<Item = usize> {
    let steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
    let step = steps.into_iter().find(|step| seconds / step <= 9).unwrap_or(7200);
    (0..=seconds).step_by(step)
}

fn short(value: f64) -> String {
    if value >= 10_000.0 { format!("{:.0}k", value / 1e3) } else { super::super::text::nice(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers_above_the_highest_value() {
        for (highest, top) in
            [(0.0, 4.0), (3.0, 4.0), (7.0, 8.0), (9.0, 10.0), (101.0, 200.0), (150.0, 200.0), (401.0, 800.0)]
        {
            assert_eq!(scale_top(highest), top, "{highest}");
        }
    }

    #[test]
    fn a_gap_in_the_measurement_is_a_gap_in_the_line() {
        let line = Line { name: "l", ink: "--a", step: false, values: vec![Some(1.0), None, Some(2.0)] };
        let path = line.path(&|t| t, &|v| v);
        assert_eq!(path.matches('M').count(), 2, "{path}");
    }
}
