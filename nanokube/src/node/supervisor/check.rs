//! Finds out, by trying it, how pods can be isolated on this machine.
//!
//! `nanokube __supervise check DIR` makes a throw-away root in a child and prints the best arrangement that worked.
//! Trying is the only honest test: kernels, containers and security modules each forbid different parts of it.

use super::protocol::{ImageRoot, User};
use super::{rootfs, sandbox, sys};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How containers get their file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// None: the program runs in the machine's own root.
    None,
    /// Its own mount and process namespaces.
    Namespaces { user_namespace: bool, overlay: bool },
}

/// Tries arrangements from best to worst inside `dir`, which must be empty and is left for the caller to remove.
pub fn check(dir: &Path) -> Isolation {
    sys::remember_ids();
    let user_namespaces = if rustix::process::geteuid().is_root() { vec![false, true] } else { vec![true] };
    let mut attempts = user_namespaces.into_iter().flat_map(|user| [(user, true), (user, false)]).enumerate();
    let works = attempts.find(|(number, (user_namespace, overlay))| {
        let scratch = dir.join(number.to_string());
        attempt(&scratch, *user_namespace, *overlay)
    });
    match works {
        Some((_, (user_namespace, overlay))) => Isolation::Namespaces { user_namespace, overlay },
        None => Isolation::None,
    }
}

fn attempt(dir: &Path, user_namespace: bool, overlay: bool) -> bool {
    let lower = dir.join("image");
    if std::fs::create_dir_all(&lower).is_err() {
        return false;
    }
    let root = ImageRoot {
        rootfs: lower,
        scratch: dir.join("scratch"),
        overlay,
        read_only: false,
        user_namespace,
        mounts: Vec::new(),
        shm_size_bytes: 4096,
    };
    let flags = sandbox::clone_flags(&super::protocol::Root::Image(root.clone()));
    let Ok(child) = sys::fork(flags) else { return false };
    if child == 0 {
        let mapped = !user_namespace || sandbox::map_user(&User::default()).is_ok();
        let entered = mapped && rootfs::enter(&root, &[], &[]).is_ok();
        sys::exit(i32::from(!entered));
    }
    loop {
        match sys::reap_blocking() {
            Some((pid, status)) if pid == child => return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
            Some(_) => {}
            None => return false,
        }
    }
}
