//! Children that end with us, however we end: a kill -9 of xtask runs no destructor, so the kernel is asked to see to it.
//!
//! They have a process group of their own: a Ctrl-C at the terminal reaches them once, from here.

use tokio::process::Command;

/// Asks every child to end, as a Ctrl-C at the terminal does that reaches them all.
pub(crate) fn interrupt_all() {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids.filter(|pid| parent(*pid) == Some(own)).filter_map(rustix::process::Pid::from_raw) {
        // It may have ended by itself just now.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    }
}

/// The second field behind the name, which stands in brackets and may hold anything.
fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Makes a command a child that is ended with this process. To be spawned from the main thread: the kernel watches the
/// thread, and this program's runtime has only that one.
pub(crate) fn bound_to_us(command: &mut Command) -> &mut Command {
    command.process_group(0).kill_on_drop(true);
    #[cfg(target_os = "linux")]
    {
        let parent = rustix::process::getpid();
        let ask = move || {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
            // The parent may have died just before it could be watched.
            if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
        };
        // SAFETY: two system calls, which allocate nothing and take no lock.
        unsafe { command.pre_exec(ask) };
    }
    command
}
