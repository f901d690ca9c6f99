//! What the machine allows: open files and local ports. Said before the run, not found out during it.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::curve::Curve;
use crate::load::Load;

/// Files that are open besides the connections.
const FILES_BESIDES: u64 = 64;
/// How long a closed connection keeps its port.
const TIME_WAIT_S: f64 = 60.0;
/// What a closed loop may reach, whose rate nobody knows beforehand.
const CLOSED_LOOP_RATE: f64 = 100_000.0;

/// Raises the file limit for so many connections; how many it allows.
pub fn allow_connections(wanted: u32, notes: &mut Vec<String>) -> u32 {
    let mut limit = getrlimit(Resource::Nofile);
    let needed = wanted as u64 + FILES_BESIDES;
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |maximum| maximum.min(needed)));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            notes.push(format!("cannot raise the limit of open files: {error}"));
            limit = getrlimit(Resource::Nofile);
        }
    }
    let files = limit.current.unwrap_or(u64::MAX);
    let allowed = files.saturating_sub(FILES_BESIDES).clamp(1, u32::MAX as u64) as u32;
    if allowed < wanted {
        notes.push(format!(
            "{wanted} connections need {needed} open files, the limit is {files}: using {allowed} connections \
             (raise it with `ulimit -n {needed}`)"
        ));
    }
    allowed.min(wanted)
}

/// Warns when dials would use up the local ports towards the targets.
pub fn forecast_ports(load: &Load, curve: &Curve, targets: usize, notes: &mut Vec<String>) {
    let ports = local_ports();
    let dials_per_s = dials_per_s(load, curve);
    // A run that is over before the first port comes back has them all to itself.
    let length_s = load.length().map_or(TIME_WAIT_S, |length| length.as_secs_f64());
    let room_per_s = ports as f64 * targets.max(1) as f64 / length_s.clamp(0.1, TIME_WAIT_S);
    if dials_per_s > room_per_s {
        notes.push(format!(
            "about {dials_per_s:.0} new connections per second may run out of local ports: {ports} ports, each kept \
             for 60 s after use, allow {room_per_s:.0} per second to {targets} address(es) in this run; let \
             connections live longer or add --target addresses"
        ));
    }
    if let (Some(_), Some(per_connection)) = (load.concurrency, answers_per_connection(load)) {
        let room_per_s = room_per_s * per_connection;
        if room_per_s < CLOSED_LOOP_RATE {
            notes.push(format!(
                "above {room_per_s:.0} requests per second this closed loop may run out of local ports: {ports} ports, each \
                 kept for 60 s after use; let connections live longer or add --target addresses"
            ));
        }
    }
    if load.connections.max.max(load.concurrency.unwrap_or(0)) as usize > ports as usize * targets.max(1) {
        notes.push(format!("more connections than the {ports} local ports towards {targets} address(es)"));
    }
}

/// Connections dialed per second at the peak, by the policy; a closed loop's rate is not known beforehand.
fn dials_per_s(load: &Load, curve: &Curve) -> f64 {
    let policy = &load.connections;
    let by_requests = answers_per_connection(load).map_or(0.0, |answers| curve.peak_rate() / answers);
    let open = load.concurrency.map_or(0.0, f64::from);
    let by_age = policy.max_age.map_or(0.0, |age| open / age.as_secs_f64().max(1e-3));
    by_requests.max(by_age)
}

/// On average, by the policy.
fn answers_per_connection(load: &Load) -> Option<f64> {
    load.connections.max_requests.map(|[fewest, most]| (fewest as f64 + most as f64) / 2.0)
}

fn local_ports() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
    match (ends.next(), ends.next()) {
        (Some(low), Some(high)) if high >= low => high - low + 1,
        // Where /proc does not say: what Linux has by itself; elsewhere IANA's dynamic range.
        _ if cfg!(target_os = "linux") => 28_232,
        _ => 16_384,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(load: &str, rate: &str) -> Vec<String> {
        let load: Load = serde_yaml::from_str(load).unwrap();
        let curve = Curve::new(&rate.parse().unwrap(), 1).unwrap();
        let mut notes = Vec::new();
        forecast_ports(&load, &curve, 1, &mut notes);
        notes
    }

    #[test]
    fn a_load_without_keep_alive_is_warned_of_its_ports_and_a_modest_one_is_not() {
        let one_each = "{pattern: constant 5000 10s, connections: {max_requests: [1, 1]}}";
        assert!(forecast(one_each, "constant 5000 10s")[0].contains("5000 new connections"));
        let short = "{pattern: constant 1000 10s, connections: {max_requests: [1, 1]}}";
        assert_eq!(forecast(short, "constant 1000 10s"), Vec::<String>::new());
        let ten_each = "{pattern: constant 500 10s, connections: {max_requests: [5, 15]}}";
        assert_eq!(forecast(ten_each, "constant 500 10s"), Vec::<String>::new());
        let closed = |per_connection: u32| {
            let policy = format!("connections: {{max_requests: [{per_connection}, {per_connection}]}}");
            forecast(&format!("{{concurrency: 9, duration: 5s, {policy}}}"), "constant 0 1s")
        };
        assert!(closed(1)[0].contains("requests per second this closed loop"));
        assert_eq!(closed(10_000), Vec::<String>::new());
        let many = "{concurrency: 100000, duration: 5s}";
        assert!(forecast(many, "constant 1 1s")[0].contains("local ports"));
    }
}
