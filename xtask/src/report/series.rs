//! The run second by second: load and cluster on one clock, for charts. A state holds until the next is seen.

use loadgen::histogram;
use serde::Serialize;

use crate::observation::Observation;
use crate::run_dir::Recording;
use crate::scene::Scene;

/// A day at one point a second is more than any chart shows.
const POINTS_MAX: i64 = 86_400;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Point {
    pub t_s: i64,
    pub planned_per_s: Option<f64>,
    pub ok_per_s: Option<u64>,
    pub errors_per_s: Option<u64>,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
    pub replicas: Option<i32>,
    pub ready: Option<i32>,
    pub desired: Option<i32>,
    /// What the autoscaler saw.
    pub cpu_percent: Option<i32>,
    /// CPU of all pods together, in thousandths of a core.
    pub cpu_milli: Option<i64>,
}

pub(super) fn of(recording: &Recording, start_ms: i64) -> Vec<Point> {
    let last_seen = recording.timeline.last().map_or(0, |entry| (entry.t_unix_ms - start_ms) / 1000);
    let seconds = last_seen.max(recording.intervals.len() as i64).clamp(0, POINTS_MAX);
    let mut points: Vec<Point> = (0..=seconds).map(Point::at).collect();
    add_load(&mut points, recording);
    add_cluster(&mut points, recording, start_ms);
    points
}

impl Point {
    fn at(t_s: i64) -> Point {
        Point {
            t_s,
            planned_per_s: None,
            ok_per_s: None,
            errors_per_s: None,
            p50_us: None,
            p99_us: None,
            replicas: None,
            ready: None,
            desired: None,
            cpu_percent: None,
            cpu_milli: None,
        }
    }
}

fn add_load(points: &mut [Point], recording: &Recording) {
    for interval in &recording.intervals {
        let Some(point) = points.get_mut(interval.t_s.max(0.0) as usize) else { continue };
        point.ok_per_s = Some(point.ok_per_s.unwrap_or(0) + interval.requests.ok);
        point.errors_per_s = Some(point.errors_per_s.unwrap_or(0) + interval.requests.errors.total());
        if interval.requests.planned > 0 {
            point.planned_per_s = Some(interval.requests.planned as f64);
        }
        if let Ok(response) = histogram::decode(&interval.response_us)
            && !response.is_empty()
        {
            point.p50_us = Some(response.value_at_quantile(0.5));
            point.p99_us = Some(response.value_at_quantile(0.99));
        }
    }
}

fn add_cluster(points: &mut [Point], recording: &Recording, start_ms: i64) {
    if recording.timeline.is_empty() {
        return;
    }
    let mut entries = recording.timeline.iter().peekable();
    let mut scene = Scene::default();
    let mut cpu_milli = None;
    for point in points {
        let end_ms = start_ms + (point.t_s + 1) * 1000;
        while let Some(entry) = entries.next_if(|entry| entry.t_unix_ms < end_ms) {
            scene.see(&entry.seen);
            if let Observation::Usage { pods } = &entry.seen {
                cpu_milli = Some(pods.values().sum());
            }
        }
        point.replicas = Some(scene.replicas);
        point.ready = Some(scene.ready);
        point.desired = Some(scene.desired).filter(|desired| *desired > 0);
        point.cpu_percent = scene.usage_percent;
        point.cpu_milli = cpu_milli;
    }
}
