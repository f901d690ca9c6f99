//! Children that end with us, however we end: a kill -9 of xtask runs no destructor, so the kernel is asked to see to it.
//!
//! They have a process group of their own: a Ctrl-C at the terminal reaches them once, from here.

use tokio::process::Command;

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
