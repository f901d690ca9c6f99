//! The supervisor: a small process between the daemon and one container, `nanokube __supervise`.
//!
//! It starts the container, writes its log, runs execs inside it, limits its CPU where no control group can, and tells
//! how it ended. It is the subreaper of the container, so that processes which daemonize stay below it. When the
//! daemon is gone (its socket ends, whatever killed it) the supervisor kills all of the container; when the supervisor
//! itself is killed, the container's main process gets a parent-death signal and takes its process namespace with it.
//! One thread: forking stays simple, and the parent-death signal is bound to the thread that forked.

mod accountant;
mod attach;
mod bind;
pub mod check;
mod control;
mod limiter;
pub mod protocol;
mod rootfs;
mod sandbox;
mod spawn;
mod sys;

use super::cgroup::{self, Throttling, Usage};
use super::log::{LogWriter, Stream};
use super::process_tree;
use accountant::Accountant;
use attach::Attached;
use bind::Binder;
use control::Control;
use limiter::Limiter;
use protocol::{ExitStatus, Launch, Reply, Request, Root};
use rustix::event::{PollFd, PollFlags, poll};
use sandbox::{Namespaces, Stdio};
use spawn::{Spawned, spawn};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The hidden verb that makes the nanokube binary a supervisor.
pub const VERB: &str = "__supervise";

/// How often memory is looked at where no control group limits it.
const MEMORY_LOOK_NS: u64 = 100_000_000;
/// How long killed processes may take to disappear.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// How long the output of a container that ended is waited for.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);
const READ_SIZE: usize = 64 << 10;

/// Runs the supervisor on the socket that is its standard input, or with `check DIR` tells what isolation works.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(2);
    if let (Some("check"), Some(dir)) = (arguments.next().as_deref(), arguments.next()) {
        println!("{}", serde_json::json!(check::check(dir.as_ref())));
        return ExitCode::SUCCESS;
    }
    match Supervisor::start() {
        Ok(Some(supervisor)) => supervisor.run(),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("supervisor: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Supervisor {
    control: Control,
    signals: OwnedFd,
    launch: Launch,
    main_pid: i32,
    binder: Option<Binder>,
    namespaces: Option<Namespaces>,
    /// Reading ends of what the container prints, with the stream it is.
    outputs: Vec<(File, Stream)>,
    input: Option<File>,
    attached: Attached,
    /// The first attached client to end its input ends the container's.
    input_ends: bool,
    log: LogWriter,
    /// Process id to exec id.
    execs: BTreeMap<i32, u64>,
    accountant: Accountant,
    limiter: Option<Limiter>,
    stopped: bool,
    look_at_ns: Option<u64>,
    memory_at_ns: u64,
    out_of_memory: bool,
    epoch: Instant,
}

/// The container's ends of its streams and ours.
struct Streams {
    stdio: [OwnedFd; 3],
    input: Option<File>,
    outputs: Vec<(File, Stream)>,
}

impl Supervisor {
    /// Reads the launch and starts the container; `None` if it failed (the daemon knows) or the daemon went away.
    fn start() -> std::io::Result<Option<Supervisor>> {
        sys::remember_ids();
        sys::become_subreaper()?;
        let signals = sys::signal_file()?;
        let mut control = Control::on_stdin()?;
        let Some(launch) = control.launch()? else { return Ok(None) };
        let log = match LogWriter::create(&launch.log) {
            Ok(log) => log,
            Err(error) => return control.fail(&format!("cannot open the log {}: {error}", launch.log.display())),
        };
        let streams = match streams(&launch) {
            Ok(streams) => streams,
            Err(error) => return control.fail(&format!("cannot open the standard streams: {error}")),
        };
        let stdio = Stdio { files: streams.stdio.each_ref().map(|file| file.as_raw_fd()), terminal: launch.tty };
        let bind_address = launch.bind_address.filter(|_| bind::is_possible());
        let flags = sandbox::clone_flags(&launch.root);
        let started = spawn(flags, &launch.cgroup_procs, bind_address, |news| {
            sandbox::become_main(&launch, bind_address.map(|_| news), &stdio)
        });
        drop(streams.stdio);
        let Spawned { pid: main_pid, binder, mut notes } = match started {
            Ok(spawned) => spawned,
            Err(message) => return control.fail(&message),
        };
        if launch.bind_address.is_some() && bind_address.is_none() {
            notes.push(
                "ports are shared with the whole machine: it does not let one process bind for another".to_owned(),
            );
        }
        let namespaces = match &launch.root {
            Root::Image(image) => Namespaces::of(main_pid, image.user_namespace).ok(),
            Root::Host { .. } => None,
        };
        control.send(&Reply::Started { notes });
        let epoch = Instant::now();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let limiter = launch.cpu_limit_milli.map(|milli| Limiter::new(milli, cores, 0));
        Ok(Some(Supervisor {
            control,
            signals,
            main_pid,
            binder,
            namespaces,
            outputs: streams.outputs,
            input: streams.input,
            attached: Attached::default(),
            input_ends: false,
            log,
            execs: BTreeMap::new(),
            accountant: Accountant::default(),
            look_at_ns: limiter.is_some().then_some(0),
            limiter,
            stopped: false,
            memory_at_ns: 0,
            out_of_memory: false,
            epoch,
            launch,
        }))
    }

    fn run(mut self) -> ExitCode {
        loop {
            let (control_ready, signals_ready, outputs_ready) = self.wait();
            self.answer_binds();
            self.feed();
            if outputs_ready {
                self.read_outputs();
            }
            if signals_ready {
                let asked_to_end = sys::read_signals(&self.signals).iter().any(|signal| *signal != libc::SIGCHLD);
                if asked_to_end {
                    return self.abandon();
                }
                if let Some(status) = self.reap() {
                    return self.finish(status);
                }
            }
            if control_ready && !self.serve() {
                return self.abandon();
            }
            self.enforce_limits();
        }
    }

    /// Sleeps until something happens or the limiter wants to look again.
    fn wait(&self) -> (bool, bool, bool) {
        let memory_at = self.launch.memory_limit_bytes.map(|_| self.memory_at_ns);
        let wake_ns = [self.look_at_ns, memory_at].into_iter().flatten().min();
        let timeout = wake_ns.map(|at| {
            let ns = at.saturating_sub(self.now_ns());
            rustix::time::Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
        });
        let mut files = vec![
            PollFd::from_borrowed_fd(self.control.file(), PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        let outputs = self.outputs.len();
        files.extend(self.outputs.iter().map(|(file, _)| PollFd::new(file, PollFlags::IN)));
        files.extend(self.attached.awaited(self.input.as_ref()));
        files.extend(self.binder.as_ref().map(|binder| PollFd::new(binder.file(), PollFlags::IN)));
        if poll(&mut files, timeout.as_ref()).is_err() {
            return (false, true, true); // interrupted: look at what cannot block
        }
        let ready = |file: &PollFd<'_>| !file.revents().is_empty();
        (ready(&files[0]), ready(&files[1]), files[2..2 + outputs].iter().any(ready))
    }

    fn read_outputs(&mut self) {
        let mut buffer = [0; READ_SIZE];
        let (log, attached) = (&mut self.log, &mut self.attached);
        self.outputs.retain_mut(|(file, stream)| match file.read(&mut buffer) {
            Ok(0) => false,
            Ok(read) => {
                log.append(*stream, &buffer[..read]);
                attached.print(*stream, &buffer[..read]);
                true
            }
            // A terminal says EIO when its last program has closed it.
            Err(error) => matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted),
        });
    }

    /// Collects ended children; the status of the main process when it is among them.
    fn reap(&mut self) -> Option<ExitStatus> {
        let mut main_status = None;
        while let Some((pid, status)) = sys::reap() {
            let status = exit_status(status);
            if pid == self.main_pid {
                main_status = Some(status);
            } else if let Some(id) = self.execs.remove(&pid) {
                self.control.send(&Reply::ExecExited { id, status });
            }
        }
        main_status
    }

    /// Does what the daemon asks; false when the daemon is gone.
    fn serve(&mut self) -> bool {
        let Some(requests) = self.control.receive() else { return false };
        for request in requests {
            match request {
                Request::Signal(signal) => process_tree::send_signal(self.main_pid, signal),
                Request::Kill => self.kill_all(),
                Request::Exec { id, command, terminal } => self.exec(id, &command, terminal),
                Request::KillExec { id } => {
                    let pids = self.execs.iter().filter(|(_, exec)| **exec == id).map(|(pid, _)| *pid);
                    pids.for_each(|pid| process_tree::send_signal(pid, libc::SIGKILL));
                }
                Request::Usage => {
                    let usage = self.usage();
                    self.control.send(&Reply::Usage(usage));
                }
                Request::Attach { id } => {
                    let files = self.control.take_files(3);
                    self.control.send(&match self.attached.add(files) {
                        Ok(()) => Reply::ExecStarted { id },
                        Err(message) => Reply::ExecFailed { id, message },
                    });
                }
                Request::Resize { columns, rows } => {
                    if let Some(input) = self.input.as_ref().and_then(|input| input.try_clone().ok()) {
                        sys::resize_terminal(&input.into(), columns, rows);
                    }
                }
            }
        }
        true
    }

    fn exec(&mut self, id: u64, command: &protocol::Command, terminal: bool) {
        let files = self.control.take_files(if terminal { 1 } else { 3 });
        let reply = match &files[..] {
            [tty] => self.spawn_exec(command, &Stdio { files: [tty.as_raw_fd(); 3], terminal: true }),
            [stdin, stdout, stderr] => {
                let files = [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()];
                self.spawn_exec(command, &Stdio { files, terminal: false })
            }
            _ => Err("the exec came without its files".to_owned()),
        };
        match reply {
            Ok(pid) => {
                self.execs.insert(pid, id);
                self.control.send(&Reply::ExecStarted { id });
            }
            Err(message) => self.control.send(&Reply::ExecFailed { id, message }),
        }
    }

    fn spawn_exec(&self, command: &protocol::Command, stdio: &Stdio) -> Result<i32, String> {
        let spawned = spawn(0, &self.launch.cgroup_procs, None, |news| {
            sandbox::become_exec(command, &self.launch.root, self.namespaces.as_ref(), stdio, news)
        });
        spawned.map(|spawned| spawned.pid)
    }

    /// Answers programs that wait for their `bind`; with the last of them the listener ends.
    fn answer_binds(&mut self) {
        let Some(binder) = &self.binder else { return };
        let mut files = [PollFd::new(binder.file(), PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        while poll(&mut files, Some(&now)).is_ok_and(|ready| ready > 0) {
            if !files[0].revents().contains(PollFlags::IN) {
                self.binder = None;
                return;
            }
            binder.answer();
        }
    }

    /// Passes on what attached clients typed. A terminal has no end of input: there the client types it.
    fn feed(&mut self) {
        self.input_ends |= self.attached.feed(self.input.as_mut()) && self.launch.stdin_once && !self.launch.tty;
        if self.input_ends && self.attached.is_drained() {
            self.input = None;
        }
    }

    fn usage(&mut self) -> Usage {
        let throttling = self.limiter.as_ref().map_or(Throttling::default(), Limiter::counters);
        let memory_bytes = process_tree::memory_bytes(self.accountant.processes());
        Usage { cpu_ns: self.accountant.cpu_ns(self.now_ns()), memory_bytes, throttling }
    }

    fn enforce_limits(&mut self) {
        let now_ns = self.now_ns();
        if let Some(limiter) = &mut self.limiter
            && self.look_at_ns.is_some_and(|at| at <= now_ns)
        {
            let verdict = limiter.look(now_ns, self.accountant.cpu_ns(now_ns));
            self.look_at_ns = Some(verdict.look_again_ns);
            if verdict.stopped != self.stopped {
                self.stopped = verdict.stopped;
                let signal = if verdict.stopped { libc::SIGSTOP } else { libc::SIGCONT };
                self.accountant.refresh(now_ns);
                self.accountant.processes().iter().for_each(|pid| process_tree::send_signal(*pid, signal));
            }
        }
        if let Some(limit) = self.launch.memory_limit_bytes
            && self.memory_at_ns <= now_ns
        {
            self.memory_at_ns = now_ns + MEMORY_LOOK_NS;
            self.accountant.refresh(now_ns);
            if process_tree::memory_bytes(self.accountant.processes()) > limit {
                self.out_of_memory = true;
                self.kill_all();
            }
        }
    }

    /// The container ended by itself: nothing of it may stay, its last words are kept, the daemon is told.
    fn finish(mut self, status: ExitStatus) -> ExitCode {
        self.kill_all();
        let until = Instant::now() + DRAIN_PATIENCE;
        while !self.outputs.is_empty() && Instant::now() < until {
            let before = self.outputs.len();
            self.read_outputs();
            if self.outputs.len() == before && !self.outputs_waiting() {
                break;
            }
        }
        self.log.finish();
        self.control.send(&Reply::Exited { status, out_of_memory: self.out_of_memory });
        ExitCode::SUCCESS
    }

    /// True while there is something to read, or may be within a moment.
    fn outputs_waiting(&self) -> bool {
        let mut files: Vec<_> = self.outputs.iter().map(|(file, _)| PollFd::new(file, PollFlags::IN)).collect();
        let moment = rustix::time::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        poll(&mut files, Some(&moment)).is_ok_and(|ready| ready > 0)
    }

    /// The daemon is gone: the container goes too, and its control groups.
    fn abandon(mut self) -> ExitCode {
        self.kill_all();
        for dir in &self.launch.cgroup_dirs {
            cgroup::remove_tree(dir);
            // The pod's group and the instance's: each stays while there is anything in it.
            for above in dir.ancestors().skip(1).take(2) {
                let _ = std::fs::remove_dir(above);
            }
        }
        ExitCode::FAILURE
    }

    /// Kills the whole tree until nothing is left of it: what is killed may have forked just before.
    fn kill_all(&mut self) {
        let me = std::process::id() as i32;
        let until = Instant::now() + KILL_PATIENCE;
        loop {
            let mut pids = process_tree::descendants(me);
            pids.extend(self.launch.cgroup_dirs.iter().flat_map(|dir| cgroup::processes(dir)));
            pids.retain(|pid| process_tree::is_alive(*pid));
            if pids.is_empty() || Instant::now() > until {
                return;
            }
            pids.iter().for_each(|pid| process_tree::send_signal(*pid, libc::SIGKILL));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn streams(launch: &Launch) -> std::io::Result<Streams> {
    if launch.tty {
        let (master, slave) = sys::open_terminal()?;
        rustix::fs::fcntl_setfl(&master, rustix::fs::OFlags::NONBLOCK)?;
        let master = File::from(master);
        let input = master.try_clone()?;
        let stdio = [slave.try_clone()?, slave.try_clone()?, slave];
        return Ok(Streams { stdio, input: Some(input), outputs: vec![(master, Stream::Stdout)] });
    }
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let output = |stream| {
        let (read, write) = pipe()?;
        rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::NONBLOCK)?;
        std::io::Result::Ok((write, (File::from(read), stream)))
    };
    let ((stdout, out), (stderr, err)) = (output(Stream::Stdout)?, output(Stream::Stderr)?);
    let (stdin, input) = if launch.stdin {
        let (read, write) = pipe()?;
        rustix::fs::fcntl_setfl(&write, rustix::fs::OFlags::NONBLOCK)?;
        (read, Some(File::from(write)))
    } else {
        (OwnedFd::from(File::open("/dev/null")?), None)
    };
    Ok(Streams { stdio: [stdin, stdout, stderr], input, outputs: vec![out, err] })
}

fn exit_status(status: i32) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(libc::WTERMSIG(status))
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status))
    }
}
