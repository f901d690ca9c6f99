//! Scenarios to read: `testdata/*.txt`, each a paragraph of intent, an HPA, observations over time, and what was
//! decided.
//!
//! Above `----` is written by hand, below is what the crate answers. `UPDATE_EXPECT=1 cargo test -p autoscaler`
//! rewrites the lower part; commit it only if you understand why it changed. The syntax is the one of the files; a word
//! that is not understood fails the test with that word.

mod parse;

use std::path::{Path, PathBuf};

use autoscaler::config::Config;
use autoscaler::defaults;
use autoscaler::history::History;
use autoscaler::pass::{Hpa, Observation, Scale, decide};
use autoscaler::registry::Registry;
use autoscaler::sample::Answer;
use autoscaler::selector::Selector;
use autoscaler::spec::Spec;
use autoscaler::status::Status;
use autoscaler::time::Time;

use parse::{Scenario, Step};

#[test]
fn every_scenario_decides_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let entries = std::fs::read_dir(&folder).expect("testdata is part of the crate");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("a readable entry").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "txt"));
    files.sort();
    assert!(files.len() >= 12, "{} scenarios in {}", files.len(), folder.display());
    for file in files {
        check(&file);
    }
}

#[track_caller]
fn check(file: &Path) {
    let text = std::fs::read_to_string(file).expect("UTF-8");
    let written = text.split("\n----\n").next().unwrap_or_default();
    let scenario = parse::scenario(written).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let decided = play(&scenario);
    expect_test::expect_file![file].assert_eq(&format!("{}\n----\n{decided}", written.trim_end()));
}

/// What carries over from pass to pass.
struct World {
    spec: Spec,
    status: Status,
    history: History,
    replicas: i32,
    registry: Registry,
}

fn play(scenario: &Scenario) -> String {
    let mut spec = scenario.spec.clone();
    defaults::apply(&mut spec);
    let mut world = World {
        spec,
        status: Status::default(),
        history: History::default(),
        replicas: scenario.replicas,
        registry: Registry::default(),
    };
    world.registry.enqueue("lab", "web");
    for (name, selector) in &scenario.others {
        world.registry.enqueue("lab", name);
        world.registry.set("lab", name, Selector::parse(selector).expect("a selector"));
    }
    let mut text = String::new();
    for step in &scenario.steps {
        text.push_str(&world.pass(step, &scenario.config));
    }
    text
}

impl World {
    fn pass(&mut self, step: &Step, config: &Config) -> String {
        self.replicas = step.replicas.unwrap_or(self.replicas);
        let pods = step.pods(self.replicas);
        let sources: Vec<parse::Source> = self.spec.metrics.iter().map(|m| step.source(m, &pods)).collect();
        let answers: Vec<Option<Answer<'_>>> = sources.iter().map(parse::Source::answer).collect();
        let observation = Observation {
            now: Time::from_s(step.at_s),
            scale: Ok(Scale {
                spec_replicas: self.replicas,
                status_replicas: i32::try_from(pods.len()).expect("few pods"),
                selector: "app=web".into(),
            }),
            pods: Ok(&pods),
            answers: &answers,
            registry: &self.registry,
        };
        let hpa = Hpa { namespace: "lab", name: "web", spec: &self.spec, status: &self.status };
        let pass = decide(&hpa, &self.history, &observation, config);
        if let Some(selector) = &pass.selector {
            self.registry.set("lab", "web", selector.clone());
        }
        let wanted = pass.scale_write();
        let refused = step.refuse.clone();
        let conclusion = pass.conclude(refused.clone().map_or(Ok(()), Err));
        if let Some(status) = conclusion.status.clone() {
            self.status = status;
        }
        let outcome = conclusion.finish(Ok(()));
        self.history = outcome.history;
        if let (Some(replicas), None) = (wanted, refused) {
            self.replicas = replicas;
        }
        let mut text = format!("{:>5}  {}\n", format!("{}s", step.at_s), outcome.explanation.line());
        if step.explain {
            for line in outcome.explanation.paragraph().lines() {
                text.push_str(&format!("       | {line}\n"));
            }
        }
        text
    }
}
