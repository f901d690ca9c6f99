//! A run told to somebody who never saw an autoscaler: each change of the pod count with the arithmetic behind it.

use super::{Change, Report};

pub(crate) fn story(report: &Report) -> String {
    let Some(cluster) = &report.cluster else {
        return format!("{}: a load on a URL alone; no autoscaler was watched.\n", report.run);
    };
    let target = cluster.target_percent;
    let mut text = format!("Why the number of pods changed in {}\n\n", report.run);
    text.push_str(&premise(cluster.request_milli, target, cluster.min_replicas, cluster.max_replicas));
    let mut ended = false;
    for change in &report.changes {
        if !ended && change.t_s > report.load_s {
            ended = true;
            text.push_str(&format!("  {:>6.1} s  the load ended\n", report.load_s));
        }
        text.push_str(&format!(
            "  {:>6.1} s  {} -> {}   {}\n",
            change.t_s,
            change.from,
            change.to,
            because(change, report)
        ));
    }
    if report.changes.is_empty() {
        let peak = report.cpu_peak_percent.map_or("unknown".to_owned(), |percent| format!("{percent} %"));
        text.push_str(&format!("  Nothing changed: CPU was at most {peak} of what the pods ask for.\n"));
    }
    text.push_str(&waits(report));
    text
}

fn premise(request_milli: Option<i64>, target: Option<i32>, min: i32, max: i32) -> String {
    let request =
        request_milli.map_or("its request".to_owned(), |milli| format!("{milli}m ({} % of a core)", milli / 10));
    let Some(target) = target else {
        return format!(
            "The autoscaler follows a metric that is not CPU in percent; it keeps {min} to {max} pods.\n\n"
        );
    };
    format!(
        "Every pod asks for CPU: {request}. Again and again the autoscaler compares what the pods use with what they ask\n\
         for. It wants {target} % on average, so it computes\n\n    \
         pods wanted = pods now x usage / {target} %, rounded up, between {min} and {max}\n\n"
    )
}

fn because(change: &Change, report: &Report) -> String {
    let (Some(usage), Some(target)) = (change.usage_percent, change.target_percent.filter(|target| *target > 0)) else {
        return "what the autoscaler saw is not known".to_owned();
    };
    let exact = f64::from(change.from) * f64::from(usage) / f64::from(target);
    let (min, max) =
        report.cluster.as_ref().map_or((1, i32::MAX), |cluster| (cluster.min_replicas, cluster.max_replicas));
    let wanted = (exact.ceil() as i32).clamp(min, max.max(min));
    let sum = format!("usage {usage} %: {} x {usage} / {target} = {exact:.2}, so {wanted}", change.from);
    let up = change.to > change.from;
    match change.to.cmp(&wanted) {
        std::cmp::Ordering::Equal => sum,
        std::cmp::Ordering::Less if up => format!("{sum}; its `behavior` lets it add {} now", change.to - change.from),
        std::cmp::Ordering::Greater if !up => {
            format!("{sum}; its `behavior` lets it remove {} now", change.from - change.to)
        }
        // The count is decided a moment before the status is written: usage may be the next sample already.
        _ => format!("usage {usage} % when its status was written; decided on a sample just before"),
    }
}

/// What a newcomer takes for a fault: pods that stay though nobody asks for them.
fn waits(report: &Report) -> String {
    let first_down = report.changes.iter().find(|change| change.t_s > report.load_s && change.to < change.from);
    first_down.map_or(String::new(), |change| {
        format!(
            "\nAfter the load it waited {:.0} s before it removed a pod, in case the load comes back. That is the window\n\
             `behavior.scaleDown.stabilizationWindowSeconds`; Kubernetes' default is 300.\n",
            change.t_s - report.load_s
        )
    })
}
