//! Makes a freshly forked process into a container's process: namespaces, root, user, then `execve`.
//!
//! Runs in the child of a single-threaded supervisor, so that ordinary code (allocation, files) is safe after the fork.
//! Every step that fails ends the child with a message to the supervisor, never with a half-made container.

use super::protocol::{Command, Launch, Root, User};
use super::rootfs;
use super::spawn::News;
use super::sys;
use crate::image::rooted;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

/// Where programs are looked for when the image sets no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The three standard streams of the new process.
pub(super) struct Stdio {
    pub files: [RawFd; 3],
    /// The streams are one terminal, which becomes the controlling one.
    pub terminal: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Main,
    Exec,
}

/// Namespaces of a running container, opened so that an exec can join them.
pub(super) struct Namespaces {
    files: Vec<(OwnedFd, i32)>,
}

impl Namespaces {
    /// Opens those of `pid`. The user namespace comes first: joining it gives the right to join the others.
    pub(super) fn of(pid: i32, user_namespace: bool) -> io::Result<Namespaces> {
        let mut kinds = vec![("uts", libc::CLONE_NEWUTS), ("pid", libc::CLONE_NEWPID), ("mnt", libc::CLONE_NEWNS)];
        if user_namespace {
            kinds.insert(0, ("user", libc::CLONE_NEWUSER));
        }
        let open = |(name, flag)| Ok((OwnedFd::from(std::fs::File::open(format!("/proc/{pid}/ns/{name}"))?), flag));
        Ok(Namespaces { files: kinds.into_iter().map(open).collect::<io::Result<_>>()? })
    }

    fn join(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|(file, flag)| sys::setns(file.as_raw_fd(), *flag))
    }
}

/// The clone flags that a container's main process starts with.
pub(super) fn clone_flags(root: &Root) -> i32 {
    match root {
        Root::Host { .. } => 0,
        Root::Image(image) => {
            let user = if image.user_namespace { libc::CLONE_NEWUSER } else { 0 };
            user | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC
        }
    }
}

/// Becomes the container's main process. Returns only with an error.
///
/// With `binds` its `bind` calls are answered by the supervisor.
pub(super) fn become_main(launch: &Launch, binds: Option<&News>, stdio: &Stdio) -> String {
    match try_become_main(launch, binds, stdio) {
        Ok(never) => match never {},
        Err(message) => message,
    }
}

fn try_become_main(launch: &Launch, binds: Option<&News>, stdio: &Stdio) -> Result<std::convert::Infallible, String> {
    let Launch { command, root, hostname, .. } = launch;
    sys::die_with_parent().map_err(at("set the parent death signal"))?;
    sys::new_session(stdio).map_err(at("make a session"))?;
    if let Root::Image(image) = root {
        if image.user_namespace {
            map_user(&command.user).map_err(at("map the user into the namespace"))?;
        }
        sys::set_hostname(hostname).map_err(at("set the host name"))?;
        rootfs::enter(image, &command.argv, &command.env)?;
    }
    binds.map_or(Ok(()), News::hand_over_binds)?;
    // A pipe of the supervisor's must stay openable as /dev/stdout by the container's user.
    for file in stdio.files {
        let _ = sys::chown(file, command.user.uid, command.user.gid); // sockets and read-only devices may refuse
    }
    run(command, root, stdio, Role::Main)
}

/// Becomes a program that runs beside the container's main process. Returns only with an error.
pub(super) fn become_exec(
    command: &Command,
    root: &Root,
    namespaces: Option<&Namespaces>,
    stdio: &Stdio,
    news: &News,
) -> String {
    let outcome = || -> Result<std::convert::Infallible, String> {
        if let Some(namespaces) = namespaces {
            namespaces.join().map_err(at("join the container's namespaces"))?;
            // Only a child is in the joined process namespace; the supervisor adopts it when this process ends.
            match sys::fork(0).map_err(at("fork"))? {
                0 => {}
                child => {
                    news.moved_to(child);
                    sys::exit(0);
                }
            }
        }
        sys::new_session(stdio).map_err(at("make a session"))?;
        run(command, root, stdio, Role::Exec)
    };
    match outcome() {
        Ok(never) => match never {},
        Err(message) => message,
    }
}

/// Working directory, privileges, streams, then the program itself.
fn run(command: &Command, root: &Root, stdio: &Stdio, role: Role) -> Result<std::convert::Infallible, String> {
    let is_mapped = matches!(root, Root::Image(image) if image.user_namespace);
    let inside = match root {
        Root::Host { rootfs } => Some(rootfs.as_path()),
        Root::Image(_) => None,
    };
    let dir = if command.working_dir.is_empty() { "/" } else { &command.working_dir };
    let real_dir = match inside {
        Some(rootfs) => rooted::resolve(rootfs, Path::new(dir)).map_err(at("find the working directory"))?,
        None => PathBuf::from(dir),
    };
    if inside.is_none() && !real_dir.exists() {
        let _ = std::fs::create_dir_all(&real_dir); // as container runtimes do; a read-only root shows below
    }
    std::env::set_current_dir(&real_dir).map_err(|error| format!("chdir to cwd ({dir:?}): {error}"))?;
    let program = find_program(command, inside)?;
    sys::limit_capabilities(command.capabilities).map_err(at("drop capabilities"))?;
    sys::become_user(&command.user, is_mapped).map_err(at("change the user"))?;
    // Changing the user clears the parent death signal. An exec in its own process namespace dies with that, and its
    // parent ends at once by design.
    if role == Role::Main || inside.is_some() {
        sys::die_with_parent().map_err(at("set the parent death signal"))?;
    }
    if command.no_new_privileges {
        sys::set_no_new_privileges().map_err(at("set no_new_privs"))?;
    }
    sys::install_stdio(stdio).map_err(at("install the standard streams"))?;
    sys::reset_signals();
    let argv = strings(&command.argv)?;
    let env = strings(&command.env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>())?;
    let path = CString::new(program.into_os_string().into_encoded_bytes()).map_err(|error| error.to_string())?;
    let error = sys::execve(&path, &argv, &env);
    Err(format!("exec: {:?}: {}", command.argv[0], plain(&error)))
}

/// The file to execute. In the host's root, names are looked for inside the unpacked image.
fn find_program(command: &Command, inside: Option<&Path>) -> Result<PathBuf, String> {
    let Some(name) = command.argv.first().filter(|name| !name.is_empty()) else {
        return Err("no command specified".to_owned());
    };
    let place = |path: &Path| match inside {
        Some(rootfs) => rooted::resolve(rootfs, path).unwrap_or_else(|_| path.to_owned()),
        None => path.to_owned(),
    };
    if name.starts_with('/') {
        let path = place(Path::new(name));
        return path.exists().then_some(path).ok_or(format!("exec: {name:?}: stat {name}: no such file or directory"));
    }
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let path = command.env.iter().find(|(key, _)| key == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    let found = path.split(':').map(|dir| place(&Path::new(dir).join(name))).find(|path| sys::is_executable(path));
    found.ok_or(format!("exec: {name:?}: executable file not found in $PATH"))
}

/// One user and one group exist in the namespace: the container's, which outside are ours.
pub(super) fn map_user(user: &User) -> io::Result<()> {
    let outside = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    std::fs::write("/proc/self/setgroups", "deny")?;
    let (uid, gid) = sys::outer_ids().unwrap_or(outside);
    std::fs::write("/proc/self/uid_map", format!("{} {uid} 1", user.uid))?;
    std::fs::write("/proc/self/gid_map", format!("{} {gid} 1", user.gid))
}

fn strings(all: &[String]) -> Result<Vec<CString>, String> {
    let convert = |text: &String| CString::new(text.as_str()).map_err(|_| format!("{text:?} holds a zero byte"));
    all.iter().map(convert).collect()
}

fn at(what: &'static str) -> impl FnOnce(io::Error) -> String {
    move |error| format!("cannot {what}: {error}")
}

/// The error's words without Rust's "(os error N)", in lower case as other runtimes print them.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
