//! From what was typed to a scenario: a file of `scenarios/`, or one made of flags, or a file whose load flags replace.
//!
//! A flag that changes the load drops what the file expects of the autoscaler, since it was written for that load.

use std::path::PathBuf;

use anyhow::{Context, Result};
use loadgen::load::Load;
use loadgen::scenario::{Expect, Pace, Scenario};
use loadgen::span::Span;

use crate::cli::{LoadArgs, parse_duration};
use crate::problem;
use crate::workspace::{self, Workspace};

/// The scenario that a load without a name takes its requests and connections from.
const BASE: &str = "demo";
const AD_HOC: &str = "adhoc";
const AD_HOC_LENGTH: &str = "60s";

pub(crate) fn resolve(workspace: &Workspace, args: &LoadArgs) -> Result<Scenario> {
    let shaped = args.rate.is_some() || args.concurrency.is_some() || args.pattern.is_some() || args.duration.is_some();
    let mut scenario = match (&args.scenario, shaped, &args.url) {
        (Some(name), _, _) => read(workspace, name)?,
        (None, false, None) => read(workspace, BASE)?,
        (None, _, Some(_)) => ad_hoc(Load::default()),
        (None, true, None) => ad_hoc(read(workspace, BASE)?.load),
    };
    if shaped || args.scenario.is_none() && args.url.is_some() {
        reshape(&mut scenario, args)?;
    }
    scenario.load.seed = args.seed.unwrap_or(scenario.load.seed);
    scenario.load.validate().map_err(|why| problem::bad_load_flags(&why))?;
    Ok(scenario)
}

/// The scenarios of this clone, by name.
pub(crate) fn names(workspace: &Workspace) -> Vec<String> {
    workspace::names_in(&workspace.scenario_dir(), |path| path.extension().is_some_and(|kind| kind == "yaml"))
}

fn read(workspace: &Workspace, name: &str) -> Result<Scenario> {
    let given = PathBuf::from(name);
    let path = if given.extension().is_some() || name.contains('/') {
        given
    } else {
        workspace.scenario_dir().join(format!("{name}.yaml"))
    };
    if !path.is_file() {
        return Err(problem::no_scenario(name, &names(workspace)).into());
    }
    Scenario::read(&path).map_err(anyhow::Error::msg).with_context(|| problem::scenario_broken(&path))
}

fn ad_hoc(load: Load) -> Scenario {
    Scenario {
        name: AD_HOC.to_owned(),
        description: "A load made of flags".to_owned(),
        pace: Pace::Real,
        load: Load { pattern: None, concurrency: None, duration: None, thresholds: Vec::new(), ..load },
        expect: Expect::default(),
    }
}

fn reshape(scenario: &mut Scenario, args: &LoadArgs) -> Result<()> {
    let length = match &args.duration {
        Some(text) => text.clone(),
        None => scenario.load.length().map_or(AD_HOC_LENGTH.to_owned(), |span| span.to_string()),
    };
    let seconds = parse_duration(&length).or_else(|_| length.parse::<Span>().map(Span::as_duration));
    let span = seconds.map_err(|why| problem::bad_load_flags(&why))?;
    let span = Span::from_ms(u64::try_from(span.as_millis()).unwrap_or(u64::MAX / 1_000_000));
    let load = &mut scenario.load;
    if let Some(clients) = args.concurrency {
        (load.pattern, load.concurrency, load.duration) = (None, Some(clients), Some(span));
        load.connections.max = load.connections.max.max(clients);
    } else if let Some(pattern) = &args.pattern {
        let pattern = pattern.parse().map_err(|error| problem::bad_load_flags(&format!("--pattern {error}")))?;
        (load.pattern, load.concurrency, load.duration) = (Some(pattern), None, None);
    } else if let Some(rate) = args.rate {
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(problem::bad_load_flags(&format!("--rate {rate}: it must be more than 0")).into());
        }
        let pattern = format!("constant {rate} {span}").parse();
        let pattern = pattern.map_err(|error| problem::bad_load_flags(&format!("--rate {rate}: {error}")))?;
        (load.pattern, load.concurrency, load.duration) = (Some(pattern), None, None);
    } else if load.concurrency.is_some() {
        load.duration = Some(span);
    } else {
        let why = "--duration alone changes nothing: give --rate, --concurrency or --pattern too";
        return Err(problem::bad_load_flags(why).into());
    }
    // Flags change what a scenario could expect of scaling, but never that a request may be lost.
    scenario.expect = Expect { lost_max: scenario.expect.lost_max.or(Some(0)), ..Expect::default() };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn here() -> Workspace {
        Workspace::at(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
    }

    fn args(change: impl FnOnce(&mut LoadArgs)) -> LoadArgs {
        let mut args = LoadArgs::default();
        change(&mut args);
        args
    }

    #[test]
    fn every_scenario_of_the_clone_is_valid_and_named_as_its_file() {
        let names = names(&here());
        for needed in ["demo", "thousand", "spike", "ramp", "stress", "quiet"] {
            assert!(names.contains(&needed.to_owned()), "{needed} is not in {names:?}");
        }
        for name in names {
            let scenario = resolve(&here(), &args(|a| a.scenario = Some(name.clone()))).unwrap();
            assert_eq!(scenario.name, name);
        }
    }

    #[test]
    fn a_load_of_flags_takes_its_requests_from_the_demo_and_expects_nothing_of_replicas() {
        let scenario = resolve(&here(), &args(|a| (a.rate, a.duration) = (Some(50.0), Some("20s".into())))).unwrap();
        assert_eq!(scenario.load.length(), Some(Span::from_secs(20)));
        assert!(scenario.load.needs_calibration());
        assert_eq!(scenario.expect.peak_replicas, None);
    }

    #[test]
    fn bad_flags_are_usage_errors_that_name_the_flag() {
        let cases = [
            args(|a| a.rate = Some(-1.0)),
            args(|a| a.pattern = Some("zigzag".into())),
            args(|a| a.scenario = Some("nope".into())),
            args(|a| (a.duration, a.scenario) = (Some("5s".into()), Some("demo".into()))),
            args(|a| (a.duration, a.rate) = (Some("soon".into()), Some(1.0))),
        ];
        for case in cases {
            let error = resolve(&here(), &case).unwrap_err();
            assert_eq!(problem::exit_code(&error), problem::EXIT_USAGE, "{}", problem::render(&error, "default"));
        }
    }
}
