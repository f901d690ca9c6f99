//! `watch`: pods with phase and CPU, the autoscaler's current, target and desired, events as they happen.
//!
//! A redrawn table for a person at a terminal, plain lines into a pipe, JSON lines for programs: one stream of
//! observations, three renderings.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt;

use crate::cli::{Output, WatchArgs};
use crate::cluster;
use crate::lab::Lab;
use crate::observation::{Entry, Observation};
use crate::observer;
use crate::scene::Scene;
use crate::terminal::{Ink, Terminal};
use crate::workload::Facts;

const EVENTS_SHOWN: usize = 8;
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

pub(crate) async fn run(lab: &Lab<'_>, args: &WatchArgs) -> Result<u8> {
    let session = lab.session()?;
    let workload = session.workload()?;
    let client = cluster::connect_to_look(&session).await?;
    let facts = Facts::read(&client, workload).await?;
    let mut observations = observer::observe(&client, workload, &facts.selector);
    let mut screen =
        Screen { terminal: lab.terminal, scene: Scene::default(), events: VecDeque::new(), drawn_lines: 0 };
    let end = tokio::time::sleep(args.for_.unwrap_or(FOREVER));
    tokio::pin!(end);
    loop {
        tokio::select! {
            seen = observations.next() => match seen {
                Some(seen) => match args.output {
                    Output::Json => lab.terminal.line(&serde_json::to_string(&Entry::now(seen))?),
                    Output::Text if lab.terminal.is_interactive() => screen.redraw(seen),
                    Output::Text => screen.line(&seen),
                },
                None => return Ok(0),
            },
            () = &mut end => return Ok(0),
            _ = tokio::signal::ctrl_c() => return Ok(0),
        }
    }
}

struct Screen<'t> {
    terminal: &'t Terminal,
    scene: Scene,
    events: VecDeque<String>,
    drawn_lines: usize,
}

impl Screen<'_> {
    /// Into a pipe: one line for each thing that changed, with its time.
    fn line(&mut self, seen: &Observation) {
        self.scene.see(seen);
        let time = jiff::Timestamp::now().strftime("%H:%M:%S");
        let text = match seen {
            Observation::Autoscaler { current, desired, usage_percent, target_percent, .. } => {
                let percent = |value: Option<i32>| value.map_or("<unknown>".to_owned(), |value| format!("{value}%"));
                format!("hpa     {current} -> {desired}  CPU {}/{}", percent(*usage_percent), percent(*target_percent))
            }
            Observation::Deployment { replicas, ready, .. } => format!("deploy  {ready}/{replicas} ready"),
            Observation::Pod { name, status, restarts, ready, .. } => {
                let ready = if *ready { " ready" } else { "" };
                let again = if *restarts > 0 { format!(" restarts {restarts}") } else { String::new() };
                format!("pod     {name} {status}{ready}{again}")
            }
            // A figure a second belongs to the table and to programs; as lines it would bury the rest.
            Observation::Usage { .. } => return,
            Observation::Event { .. } | Observation::Interrupted { .. } => event_line(seen),
        };
        self.terminal.line(&format!("{time}  {text}"));
    }

    fn redraw(&mut self, seen: Observation) {
        self.scene.see(&seen);
        if matches!(seen, Observation::Event { .. } | Observation::Interrupted { .. }) {
            self.events.push_back(format!("{}  {}", jiff::Timestamp::now().strftime("%H:%M:%S"), event_line(&seen)));
            if self.events.len() > EVENTS_SHOWN {
                self.events.pop_front();
            }
        }
        let table = self.table();
        self.drawn_lines = self.terminal.redraw(&table, self.drawn_lines);
    }

    fn table(&self) -> Vec<String> {
        let scene = &self.scene;
        let mut lines = vec![
            self.terminal.paint(Ink::Bold, &format!("{}   (bounds {} to {})", scene.line(), scene.min, scene.max)),
        ];
        for condition in &scene.conditions {
            let good = (condition.kind == "ScalingLimited") != (condition.status == "True");
            let ink = if good { Ink::Dim } else { Ink::Warn };
            lines.push(
                self.terminal.paint(ink, &format!("  {} {}: {}", condition.kind, condition.reason, condition.message)),
            );
        }
        // As wide as what is in them, so that the CPU is seen in a window of 80 columns.
        let name_width = scene.pods.keys().map(String::len).max().unwrap_or(0).max("POD".len());
        let status_width = scene.pods.values().map(|pod| pod.status.len()).max().unwrap_or(0).max("STATUS".len());
        let [ready, restarts, cpu] = ["READY", "RESTARTS", "CPU"];
        lines.push(format!("  {:<name_width$} {:<status_width$} {ready:>5} {restarts:>8} {cpu:>6}", "POD", "STATUS"));
        for (name, pod) in &scene.pods {
            let cpu = pod.cpu_milli.map_or("-".to_owned(), |milli| format!("{milli}m"));
            let ready = if pod.ready { "yes" } else { "no" };
            lines.push(format!(
                "  {name:<name_width$} {:<status_width$} {ready:>5} {:>8} {cpu:>6}",
                pod.status, pod.restarts
            ));
        }
        lines.extend(self.events.iter().map(|event| self.terminal.paint(Ink::Dim, &format!("  {event}"))));
        lines
    }
}

fn event_line(seen: &Observation) -> String {
    match seen {
        Observation::Event { warning, reason, message, object, count } => {
            let kind = if *warning { "warning" } else { "event  " };
            let times = if *count > 1 { format!(" (x{count})") } else { String::new() };
            format!("{kind} {object} {reason}: {message}{times}")
        }
        Observation::Interrupted { what, why } => format!("watch   {what}: {why}"),
        _ => String::new(),
    }
}
