//! Ctrl-C while a profile is being changed: words on what is there by now and what to do next, then the end.
//!
//! Half of a setup waits for other programs, so the signal is awaited by a thread of its own. It tells what the session on disk
//! says, since that is what the next verb works from.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use crate::child;
use crate::lab::Lab;
use crate::problem::{self, Problem};
use crate::session::Session;

/// More than a signal takes to arrive.
const FAREWELL: std::time::Duration = std::time::Duration::from_millis(200);

/// As long as it lives, Ctrl-C and SIGTERM end the program with words.
pub(crate) struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Guard {
    /// A Ctrl-C reaches the children too, and then what failed is one of them: the farewell is the better news.
    pub(crate) fn after<T>(self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            std::thread::sleep(FAREWELL);
        }
        outcome
    }
}

/// `words` makes the farewell of what the session says by then.
pub(crate) fn guard(lab: &Lab<'_>, words: fn(&str) -> Problem) -> Result<Guard> {
    let armed = Arc::new(AtomicBool::new(true));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    // Caught from here on, before anything is changed.
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    drop(entered);
    let (workspace, profile, still) = (lab.workspace.clone(), lab.profile.clone(), armed.clone());
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        });
        if !still.load(Ordering::SeqCst) {
            return;
        }
        child::interrupt_all();
        let session = Session::load(&workspace, &profile).ok().flatten();
        let farewell = words(&so_far(session.as_ref()));
        say(&problem::render(&farewell.into(), &profile));
        std::process::exit(i32::from(problem::EXIT_INTERRUPTED));
    });
    Ok(Guard(armed))
}

fn say(words: &str) {
    // Behind `^C`, or over the line that was being drawn.
    let wipe = if std::io::stdout().is_terminal() { "\r\x1b[K" } else { "" };
    let _ = write!(std::io::stdout(), "{wipe}");
    let _ = std::io::stdout().flush();
    let _ = writeln!(std::io::stderr(), "error: {words}");
}

/// What is there, as far as the session knows.
fn so_far(session: Option<&Session>) -> String {
    let Some(session) = session else { return "nothing was changed".to_owned() };
    if session.context.is_empty() {
        let begun = if session.created.cluster { "a cluster was being made" } else { "nothing was changed" };
        return begun.to_owned();
    }
    let mut there = vec![format!("the {} cluster", session.provider.name())];
    there.extend(session.images.values().map(|image| format!("image {image}")));
    if !session.namespace.is_empty() {
        there.push(format!("objects in namespace {}", session.namespace));
    }
    format!("there is {}", there.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Pace, ProviderKind};

    #[test]
    fn what_is_there_grows_with_the_session() {
        assert_eq!(so_far(None), "nothing was changed");
        let mut session = Session::new("lab", ProviderKind::Embedded, "dev", Pace::Fast);
        assert_eq!(so_far(Some(&session)), "nothing was changed");
        session.created.cluster = true;
        assert_eq!(so_far(Some(&session)), "a cluster was being made");
        session.context = "nanokube-lab".to_owned();
        session.images.insert("localhost/a:dev".into(), "localhost/a:12".into());
        session.namespace = "swell-dev".to_owned();
        assert_eq!(
            so_far(Some(&session)),
            "there is the embedded cluster, image localhost/a:12, objects in namespace swell-dev"
        );
    }
}
