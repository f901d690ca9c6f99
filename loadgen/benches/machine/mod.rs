//! On which machine and when a figure was taken: no table of figures goes without it. With `-- --write` a bench puts its
//! table into the README, so that no figure there is typed by hand.
//!
//! The load average is told because a busy machine makes figures of wall-clock time worthless.

/// Processor, cores, load and date in one line.
pub(crate) fn line() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    let days = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() / 86_400);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    format!("{}, {cores} cores, load average {load} at the start, {}", model.trim_matches([' ', '\t', ':']), date(days))
}

/// Prints what a bench found, and writes it where the README has the marks of its name if that was asked for.
pub(crate) fn publish(name: &str, text: &str) -> std::process::ExitCode {
    print!("{text}");
    if !std::env::args().any(|arg| arg == "--write") {
        return std::process::ExitCode::SUCCESS;
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let written = std::fs::read_to_string(path).and_then(|readme| match between_marks(&readme, name, text) {
        Some(readme) => std::fs::write(path, readme),
        None => Err(std::io::Error::other(format!("has no marks of {name}"))),
    });
    match written {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{path}: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn between_marks(readme: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = readme.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{text}{end}{after}"))
}

/// The date of a day since 1970.
fn date(days: u64) -> String {
    let shifted = days as i64 + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    format!("{:04}-{month:02}-{day:02}", year_of_era + era * 400 + (month <= 2) as i64)
}
