//! The life of one container: image, start, probes, end, and starting again after a while that doubles.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::pod::PodContext;
use super::probe::{self, Verdict};
use super::state::{ContainerState, Ended, Phase, Role};
use super::{RunningContainer, launch};
use crate::controllers::action::EventKind::{Normal, Warning};
use crate::image::Image;
use crate::node::session::{Exit, Session};
use crate::node::supervisor::protocol::ExitStatus;
use crate::object;

const BACK_OFF_FIRST: Duration = Duration::from_secs(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// A container that ran for this long starts with a clean record.
const BACK_OFF_RESET: Duration = Duration::from_secs(600);
/// How long a missing image is looked for in silence; `nanokube image load` may bring it at any time.
const IMAGE_RETRY: Duration = Duration::from_millis(500);
/// The longest termination message, and the part of the log that may stand in for one, as on a real node.
const TERMINATION_MESSAGE_BYTES: usize = 4096;
const LOG_TAIL_BYTES: u64 = 2048;
/// How long a killed container may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(15);

/// The order to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) grace: Duration,
    /// An earlier order was given already; this one may only shorten it.
    pub(super) again: bool,
}

type Stops = watch::Receiver<Option<Stop>>;

struct Container {
    pod: Arc<PodContext>,
    spec: Value,
    name: String,
    role: Role,
    stops: Stops,
}

/// Why a container ended, beyond its exit status.
enum Cause {
    Itself,
    /// It was told to, and is not to start again.
    Stopped,
    /// A probe had it killed.
    Probe,
    /// It never ran: something it refers to is missing.
    NotConfigured,
}

/// What ends the watch over a running container.
enum Happened {
    Ended(Exit),
    Told,
    Failed(Option<Verdict>),
}

/// Runs a container until it has ended for good. True if that was a success (for init containers: the next may start).
pub(super) async fn run(pod: Arc<PodContext>, spec: Value, role: Role, stops: Stops) -> bool {
    let name = object::str_at(&spec, "/name").to_owned();
    Container { pod, spec, name, role, stops }.run().await
}

impl Container {
    async fn run(mut self) -> bool {
        // It ended for good under an earlier daemon.
        if let Some(exit_code) =
            self.pod.states().0.get(&self.name).and_then(|state| state.ended()).map(|it| it.exit_code)
        {
            return exit_code == 0;
        }
        let mut back_off = None;
        loop {
            let Some(image) = self.image().await else { return false };
            let began = Instant::now();
            let (exit_code, cause) = self.once(&image).await;
            if matches!(cause, Cause::Stopped) || self.stopped() {
                return exit_code == 0;
            }
            if matches!(cause, Cause::NotConfigured) {
                continue;
            }
            if !self.starts_again(exit_code, &cause) {
                return exit_code == 0;
            }
            if began.elapsed() >= BACK_OFF_RESET {
                back_off = None;
            }
            // The first restart comes at once, as with the kubelet.
            if let Some(pause) = back_off
                && !self.wait(pause).await
            {
                return false;
            }
            back_off = Some(back_off.map_or(BACK_OFF_FIRST, |pause: Duration| (pause * 2).min(BACK_OFF_MAX)));
            self.set(|state| state.restarts = state.restarts.saturating_add(1));
        }
    }

    fn starts_again(&self, exit_code: i32, cause: &Cause) -> bool {
        let pod = self.pod.object();
        let policy = object::str_at(&pod, "/spec/restartPolicy");
        // Who ends well because a probe had it killed has not ended well.
        let killed = matches!(cause, Cause::Probe) && policy != "Never";
        killed || !launch::is_final(self.role, policy, exit_code)
    }

    fn stopped(&self) -> bool {
        self.stops.borrow().is_some()
    }

    fn set(&self, change: impl FnOnce(&mut ContainerState)) {
        self.pod.set(&self.name, change);
    }

    fn waiting(&self, reason: &str, message: String) {
        self.set(|state| {
            if let Some(ended) = state.ended().cloned() {
                state.last = Some(ended);
            }
            state.phase = Phase::Waiting { reason: reason.to_owned(), message };
            state.ready = false;
            state.started = false;
        });
    }

    /// Waits in CrashLoopBackOff; false when the pod is to end.
    async fn wait(&mut self, pause: Duration) -> bool {
        let subject = format!("failed container={} pod={}", self.name, self.pod.title());
        self.waiting("CrashLoopBackOff", format!("back-off {} restarting {subject}", go_duration(pause)));
        let message = format!("Back-off restarting failed container {} in pod {}", self.name, self.pod.title());
        self.pod.event(Some(&self.name), Warning, "BackOff", message);
        tokio::select! {
            _ = self.stops.wait_for(Option::is_some) => false,
            () = tokio::time::sleep(pause) => true,
        }
    }

    /// The image, once it is there; None when the pod is to end first.
    async fn image(&mut self) -> Option<Image> {
        let mut looks = 0;
        loop {
            match self.find_image() {
                Ok(image) => {
                    let reference = object::str_at(&self.spec, "/image");
                    let message = format!(
                        "Container image \"{reference}\" already present on machine and can be accessed by the pod"
                    );
                    self.pod.event(Some(&self.name), Normal, "Pulled", message);
                    return Some(image);
                }
                Err((reason, message)) => {
                    looks += 1;
                    self.tell_of_image(looks, reason, message);
                }
            }
            tokio::select! {
                _ = self.stops.wait_for(Option::is_some) => return None,
                () = tokio::time::sleep(IMAGE_RETRY) => {}
            }
        }
    }

    /// The first look tells what is wrong, the second that it is tried again; later ones are silent.
    fn tell_of_image(&self, looks: u32, reason: &'static str, message: String) {
        let reference = object::str_at(&self.spec, "/image");
        let container = Some(self.name.as_str());
        match looks {
            1 => {
                if reason == "ErrImagePull" {
                    self.pod.event(container, Normal, "Pulling", format!("Pulling image \"{reference}\""));
                }
                let told = if reason == "ErrImageNeverPull" { reason } else { "Failed" };
                self.pod.event(container, Warning, told, message.clone());
                self.pod.event(container, Warning, "Failed", format!("Error: {reason}"));
                self.waiting(reason, message);
            }
            2 if reason == "ErrImagePull" => {
                let words = format!("Back-off pulling image \"{reference}\"");
                self.pod.event(container, Normal, "BackOff", words.clone());
                self.pod.event(container, Warning, "Failed", "Error: ImagePullBackOff");
                self.waiting("ImagePullBackOff", format!("{words}: ErrImagePull: {message}"));
            }
            _ => {}
        }
    }

    fn find_image(&self) -> Result<Image, (&'static str, String)> {
        let reference = object::str_at(&self.spec, "/image");
        let policy = object::str_at(&self.spec, "/imagePullPolicy");
        match self.pod.kubelet.images.resolve(reference) {
            Ok(Some(image)) => match launch::wrong_architecture(&image) {
                None => Ok(image),
                Some(why) => Err(("ErrImagePull", format!("Failed to pull image \"{reference}\": {why}"))),
            },
            Ok(None) if policy == "Never" => {
                let message = format!("Container image \"{reference}\" is not present with pull policy of Never");
                Err(("ErrImageNeverPull", message))
            }
            Ok(None) => {
                let why = "this node pulls from no registry; load the image with `nanokube image load FILE`";
                Err(("ErrImagePull", format!("Failed to pull image \"{reference}\": {why}")))
            }
            Err(error) => {
                Err(("InvalidImageName", format!("Failed to apply default image tag \"{reference}\": {error}")))
            }
        }
    }

    /// One run from start to end, with its exit code.
    async fn once(&mut self, image: &Image) -> (i32, Cause) {
        let attempt = self.pod.states().0.get(&self.name).map_or(0, |state| state.restarts);
        let (log, previous) =
            (launch::log_path(&self.pod, &self.name), launch::previous_log_path(&self.pod, &self.name));
        let _ = std::fs::rename(log, previous); // there is none before the first run
        let prepared = match launch::prepare(&self.pod, &self.spec, image, attempt) {
            Ok(prepared) => prepared,
            Err(message) => return self.not_configured(message).await,
        };
        let first_time = attempt == 0;
        for note in prepared.notes.iter().filter(|_| first_time) {
            self.pod.event(Some(&self.name), Normal, "NotHonoured", note.clone());
        }
        let title = format!("{}/{}", self.pod.title(), self.name);
        self.pod.event(Some(&self.name), Normal, "Created", "Container created");
        let container_id = format!("nanokube://{}", container_id(&self.pod.uid, &self.name, attempt));
        let program = &self.pod.kubelet.config.program;
        let session = match Session::start(program, &title, &prepared.launch).await {
            Ok(session) => session,
            Err(message) => return (self.not_started(&message, &container_id), Cause::Itself),
        };
        for note in session.notes().iter().filter(|_| first_time) {
            self.pod.event(Some(&self.name), Normal, "NotHonoured", note.clone());
        }
        let handle = RunningContainer { session: session.clone(), cgroup: prepared.cgroup.clone() };
        let since = self.pod.kubelet.cluster.now();
        let probed = self.spec.get("startupProbe").is_some();
        let waits = self.spec.get("readinessProbe").is_some();
        self.set(|state| {
            if let Some(ended) = state.ended().cloned() {
                state.last = Some(ended);
            }
            state.phase = Phase::Running { since, handle };
            state.started = !probed;
            state.ready = !waits && !probed;
            state.image_id = image.id.clone();
            state.container_id = container_id.clone();
        });
        self.pod.event(Some(&self.name), Normal, "Started", "Container started");
        let (exit, cause) = self.watch(&session).await;
        drop(session);
        let out_of_memory = prepared.cgroup.as_ref().is_some_and(|cgroup| cgroup.oom_kills() > 0);
        if let Some(cgroup) = prepared.cgroup {
            let _ = tokio::task::spawn_blocking(move || cgroup.remove()).await; // removed at the next start otherwise
        }
        let out_of_memory = exit.out_of_memory || out_of_memory;
        let ended = self.ended(Exit { out_of_memory, ..exit }, &container_id, since, &prepared.termination_log);
        let exit_code = ended.exit_code;
        self.set(|state| {
            state.phase = Phase::Terminated(ended);
            state.ready = false;
            state.started = false;
        });
        (exit_code, cause)
    }

    /// Waits for the end of a running container, ends it when it must.
    async fn watch(&mut self, session: &Session) -> (Exit, Cause) {
        if let Some(hook) = self.spec.pointer("/lifecycle/postStart").cloned()
            && let Err(why) = probe::hook(&self.pod, &self.name, session, &hook).await
        {
            self.pod.event(Some(&self.name), Warning, "FailedPostStartHook", why);
            return (self.end(session, self.grace()).await, Cause::Probe);
        }
        let (verdicts, mut verdict) = watch::channel(None);
        let mut probes = probe::start(self.pod.clone(), self.spec.clone(), session.clone(), verdicts);
        let happened = tokio::select! {
            exit = session.wait() => Happened::Ended(exit),
            _ = self.stops.wait_for(Option::is_some) => Happened::Told,
            Ok(failed) = verdict.wait_for(Option::is_some) => Happened::Failed(*failed),
        };
        let outcome = match happened {
            Happened::Ended(exit) => (exit, Cause::Itself),
            Happened::Failed(verdict) => {
                let kind = if verdict == Some(Verdict::StartupFailed) { "startup" } else { "liveness" };
                let message = format!("Container {} failed {kind} probe, will be restarted", self.name);
                self.pod.event(Some(&self.name), Normal, "Killing", message);
                (self.end(session, self.grace()).await, Cause::Probe)
            }
            Happened::Told => {
                self.pod.event(Some(&self.name), Normal, "Killing", format!("Stopping container {}", self.name));
                let stop = *self.stops.borrow_and_update();
                let grace = stop.map_or(Duration::ZERO, |stop| stop.grace);
                (self.end(session, grace).await, Cause::Stopped)
            }
        };
        // Readiness goes on to be probed until the container is gone; then nothing more.
        probes.abort_all();
        outcome
    }

    fn grace(&self) -> Duration {
        let seconds = object::i64_at(&self.pod.object(), "/spec/terminationGracePeriodSeconds").unwrap_or(30);
        Duration::from_secs(seconds.max(0).unsigned_abs())
    }

    /// preStop, the stop signal, and after the grace period the kill. A later, shorter order shortens it.
    async fn end(&mut self, session: &Session, grace: Duration) -> Exit {
        let began = Instant::now();
        let mut deadline = began + grace;
        if !grace.is_zero() {
            if let Some(hook) = self.spec.pointer("/lifecycle/preStop").cloned() {
                let hook = probe::hook(&self.pod, &self.name, session, &hook);
                match tokio::time::timeout_at(deadline, hook).await {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => self.pod.event(Some(&self.name), Warning, "FailedPreStopHook", why),
                    Err(_) => {}
                }
            }
            session.signal(self.stop_signal()).await;
        }
        loop {
            tokio::select! {
                exit = session.wait() => return exit,
                () = tokio::time::sleep_until(deadline) => break,
                changed = self.stops.changed() => match (changed, *self.stops.borrow_and_update()) {
                    (Ok(()), Some(stop)) if stop.again => deadline = deadline.min(Instant::now() + stop.grace),
                    (Ok(()), _) => {}
                    (Err(_), _) => break,
                }
            }
        }
        session.kill().await;
        let gone = tokio::time::timeout(KILL_PATIENCE, session.wait()).await;
        gone.unwrap_or(Exit { status: ExitStatus::Signal(libc::SIGKILL), out_of_memory: false })
    }

    fn stop_signal(&self) -> i32 {
        let wanted = match object::str_at(&self.spec, "/lifecycle/stopSignal") {
            "" => {
                let image = self.pod.kubelet.images.resolve(object::str_at(&self.spec, "/image")).ok().flatten();
                image.and_then(|image| image.config.config.stop_signal.clone()).unwrap_or_default()
            }
            given => given.to_owned(),
        };
        match wanted.trim_start_matches("SIG") {
            "HUP" | "1" => libc::SIGHUP,
            "INT" | "2" => libc::SIGINT,
            "QUIT" | "3" => libc::SIGQUIT,
            "USR1" | "10" => libc::SIGUSR1,
            "USR2" | "12" => libc::SIGUSR2,
            "WINCH" | "28" => libc::SIGWINCH,
            _ => libc::SIGTERM,
        }
    }

    /// Something that the container refers to is missing: it is looked for again until the pod is to end.
    async fn not_configured(&mut self, message: String) -> (i32, Cause) {
        let (reason, message) = match message.strip_prefix("FailedMount: ") {
            Some(rest) => ("FailedMount", rest.to_owned()),
            None => ("Failed", format!("Error: {message}")),
        };
        self.pod.event(Some(&self.name), Warning, reason, message.clone());
        self.waiting("CreateContainerConfigError", message.trim_start_matches("Error: ").to_owned());
        tokio::select! {
            _ = self.stops.wait_for(Option::is_some) => (0, Cause::Stopped),
            () = tokio::time::sleep(BACK_OFF_FIRST) => (1, Cause::NotConfigured),
        }
    }

    /// The program could not be started: ended with code 128, as runtimes report it.
    fn not_started(&self, message: &str, container_id: &str) -> i32 {
        let at = self.pod.kubelet.cluster.now();
        self.pod.event(Some(&self.name), Warning, "Failed", format!("Error: {message}"));
        self.set(|state| {
            state.phase = Phase::Terminated(Ended {
                exit_code: 128,
                signal: None,
                reason: "StartError".to_owned(),
                message: message.to_owned(),
                started_at: at,
                finished_at: at,
                container_id: container_id.to_owned(),
            });
        });
        128
    }

    /// What the program left in its termination log, or the end of its log where that is wanted.
    fn last_words(&self, termination_log: &Path, exit_code: i32) -> String {
        let mut words = std::fs::read(termination_log).unwrap_or_default();
        let policy = object::str_at(&self.spec, "/terminationMessagePolicy");
        if words.is_empty() && policy == "FallbackToLogsOnError" && exit_code != 0 {
            words = log_tail(&launch::log_path(&self.pod, &self.name)).unwrap_or_default();
        }
        words.truncate(TERMINATION_MESSAGE_BYTES);
        String::from_utf8_lossy(&words).into_owned()
    }

    fn ended(&self, exit: Exit, container_id: &str, started_at: jiff::Timestamp, termination_log: &Path) -> Ended {
        let exit_code = exit.status.exit_code();
        let reason = match (exit.out_of_memory, exit_code) {
            (true, 1..) => "OOMKilled",
            (true, _) => "Completed",
            (false, 0) => "Completed",
            (false, _) => "Error",
        };
        Ended {
            exit_code,
            signal: None,
            reason: reason.to_owned(),
            message: self.last_words(termination_log, exit_code),
            started_at,
            finished_at: self.pod.kubelet.cluster.now(),
            container_id: container_id.to_owned(),
        }
    }
}

/// As Go prints it: `10s`, `1m20s`, `5m0s`.
fn go_duration(pause: Duration) -> String {
    let (minutes, seconds) = (pause.as_secs() / 60, pause.as_secs() % 60);
    if minutes > 0 { format!("{minutes}m{seconds}s") } else { format!("{seconds}s") }
}

/// The last lines of a log, without their stamps.
fn log_tail(log: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(log)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let cut_off = usize::from(size > LOG_TAIL_BYTES);
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').skip(cut_off);
    Ok(lines.flat_map(|line| line.splitn(4, |byte| *byte == b' ').nth(3).unwrap_or_default().to_vec()).collect())
}

/// 64 hexadecimal digits, as runtimes name containers.
fn container_id(uid: &str, name: &str, attempt: u32) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{uid}/{name}/{attempt}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
