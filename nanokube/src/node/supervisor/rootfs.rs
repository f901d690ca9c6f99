//! Builds a container's root file system inside its own mount namespace and moves into it.
//!
//! The image's files below an overlay (or as a copy where overlays are not allowed), the pod's volumes at their real
//! paths, a private `/proc` and `/dev`. A dynamically linked program whose image lacks its loader gets the machine's
//! libraries, read-only. Nothing of this is seen outside: the namespace ends with its last process.

use super::protocol::{ImageRoot, Mount};
use crate::image::rooted;
use rustix::fs::StatVfsMountFlags;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::mount::{mount, mount_bind_recursive, mount_change, mount_remount, unmount};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LIBRARY_DIRS: [&str; 5] = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/nix/store"];
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const INTERPRETER_LENGTH_MAX: u64 = 4096;

/// Makes the root and enters it. The calling process must be alone in its mount namespace.
pub(super) fn enter(image: &ImageRoot, argv: &[String], env: &[(String, String)]) -> Result<(), String> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(at("unshare mounts", "/"))?;
    let root = assemble(image)?;
    lend_libraries(&root, argv, env)?;
    system_mounts(&root, image)?;
    for volume in &image.mounts {
        bind(&root, volume)?;
    }
    pivot(&root)?;
    if image.read_only {
        remount_read_only(Path::new("/")).map_err(at("make read-only", "/"))?;
    }
    Ok(())
}

/// The writable view of the image, as a mount point.
fn assemble(image: &ImageRoot) -> Result<PathBuf, String> {
    let root = image.scratch.join("root");
    fs::create_dir_all(&root).map_err(at("create", &root))?;
    if image.overlay {
        let (upper, work) = (image.scratch.join("upper"), image.scratch.join("work"));
        for dir in [&upper, &work] {
            fs::create_dir_all(dir).map_err(at("create", dir))?;
        }
        let extra = if image.user_namespace { ",userxattr" } else { "" };
        let (lower, upper, work) = (image.rootfs.display(), upper.display(), work.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}{extra}");
        let options = CString::new(options).map_err(|error| error.to_string())?;
        mount("overlay", &root, "overlay", MountFlags::empty(), Some(options.as_c_str()))
            .map_err(at("overlay", &root))?;
    } else {
        copy_tree(&image.rootfs, &root).map_err(at("copy the image to", &root))?;
        mount_bind_recursive(&root, &root).map_err(at("bind", &root))?;
    }
    Ok(root)
}

fn system_mounts(root: &Path, image: &ImageRoot) -> Result<(), String> {
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let proc = mount_point(root, "/proc", true)?;
    if mount("proc", &proc, "proc", safe, None).is_err() {
        // Not allowed where the machine's own /proc is partly hidden; that one serves, with other process ids.
        mount_bind_recursive("/proc", &proc).map_err(at("bind", &proc))?;
    }
    let sys = mount_point(root, "/sys", true)?;
    if mount_bind_recursive("/sys", &sys).is_ok() {
        let _ = remount_read_only(&sys); // programs only read it to learn about the machine
    }
    let dev = mount_point(root, "/dev", true)?;
    mount("tmpfs", &dev, "tmpfs", MountFlags::NOSUID, Some(c"mode=755,size=65536")).map_err(at("mount", &dev))?;
    for name in DEVICES {
        let (source, target) = (Path::new("/dev").join(name), dev.join(name));
        File::create(&target).map_err(at("create", &target))?;
        mount_bind_recursive(&source, &target).map_err(at("bind", &target))?;
    }
    for (name, to) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        symlink(to, dev.join(name)).map_err(at("link", &dev.join(name)))?;
    }
    let pts = dev.join("pts");
    fs::create_dir(&pts).map_err(at("create", &pts))?;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    if mount("devpts", &pts, "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, Some(options)).is_ok() {
        symlink("pts/ptmx", dev.join("ptmx")).map_err(at("link", &dev.join("ptmx")))?;
    }
    let shm = dev.join("shm");
    fs::create_dir(&shm).map_err(at("create", &shm))?;
    let options =
        CString::new(format!("mode=1777,size={}", image.shm_size_bytes)).map_err(|error| error.to_string())?;
    mount("shm", &shm, "tmpfs", safe, Some(options.as_c_str())).map_err(at("mount", &shm))
}

fn bind(root: &Path, volume: &Mount) -> Result<(), String> {
    let is_dir = fs::metadata(&volume.source).map_err(at("find the volume", &volume.source))?.is_dir();
    let target = mount_point(root, &volume.target, is_dir)?;
    mount_bind_recursive(&volume.source, &target).map_err(at("mount", &target))?;
    if volume.read_only {
        remount_read_only(&target).map_err(at("make read-only", &target))?;
    }
    Ok(())
}

/// A file or directory inside the root to mount upon, made if it is not there.
fn mount_point(root: &Path, target: &str, is_dir: bool) -> Result<PathBuf, String> {
    let path = rooted::resolve(root, Path::new(target)).map_err(at("resolve", Path::new(target)))?;
    if path.exists() {
        return Ok(path);
    }
    if is_dir {
        fs::create_dir_all(&path).map_err(at("create the mount point", &path))?;
    } else {
        let parent = path.parent().unwrap_or(root);
        fs::create_dir_all(parent).map_err(at("create", parent))?;
        File::create(&path).map_err(at("create the mount point", &path))?;
    }
    Ok(path)
}

/// A remount must repeat the flags that a user namespace may not clear.
fn remount_read_only(target: &Path) -> io::Result<()> {
    let now = rustix::fs::statvfs(target)?.f_flag;
    let kept = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let kept = kept.into_iter().filter(|(flag, _)| now.contains(*flag)).map(|(_, flag)| flag);
    let flags = kept.fold(MountFlags::BIND | MountFlags::RDONLY, |all, flag| all | flag);
    Ok(mount_remount(target, flags, "")?)
}

/// Makes `root` the root of this process and lets go of the old one.
fn pivot(root: &Path) -> Result<(), String> {
    std::env::set_current_dir(root).map_err(at("enter", root))?;
    rustix::process::pivot_root(".", ".").map_err(at("make the root of", root))?;
    unmount(".", UnmountFlags::DETACH).map_err(at("leave the old root of", root))?;
    std::env::set_current_dir("/").map_err(at("enter", "/"))
}

/// Binds the machine's libraries where the program's loader is missing from the image.
fn lend_libraries(root: &Path, argv: &[String], env: &[(String, String)]) -> Result<(), String> {
    let Some(path) = argv.first().and_then(|name| program_file(root, name, env)) else { return Ok(()) };
    let Some(loader) = interpreter(&path) else { return Ok(()) };
    if rooted::resolve(root, Path::new(&loader)).is_ok_and(|path| path.exists()) {
        return Ok(());
    }
    for dir in LIBRARY_DIRS {
        let (host, target) = (Path::new(dir), root.join(&dir[1..]));
        let Ok(meta) = fs::symlink_metadata(host) else { continue };
        if meta.is_symlink() {
            let to = fs::read_link(host).map_err(at("read the link", host))?;
            let _ = fs::remove_dir(&target); // an empty directory gives way, a full one stays
            if fs::symlink_metadata(&target).is_err() {
                symlink(to, &target).map_err(at("link", &target))?;
            }
        } else if fs::read_dir(&target).map_or(true, |mut entries| entries.next().is_none()) {
            fs::create_dir_all(&target).map_err(at("create", &target))?;
            mount_bind_recursive(host, &target).map_err(at("bind", &target))?;
            remount_read_only(&target).map_err(at("make read-only", &target))?;
        }
    }
    let cache = root.join("etc/ld.so.cache");
    if !cache.exists() && Path::new("/etc/ld.so.cache").exists() {
        let cache = mount_point(root, "/etc/ld.so.cache", false)?;
        mount_bind_recursive("/etc/ld.so.cache", &cache).map_err(at("bind", &cache))?;
    }
    Ok(())
}

/// Where the program is, as the container will look for it.
fn program_file(root: &Path, name: &str, env: &[(String, String)]) -> Option<PathBuf> {
    if name.contains('/') {
        return rooted::resolve(root, Path::new(name)).ok();
    }
    let folders = env.iter().find(|(key, _)| key == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    let mut found = folders.split(':').filter_map(|dir| rooted::resolve(root, &Path::new(dir).join(name)).ok());
    found.find(|path| path.exists())
}

/// The loader that a 64-bit ELF program asks for, if it is dynamically linked.
fn interpreter(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    let mut head = Vec::new();
    io::Read::by_ref(&mut &file).take(4096).read_to_end(&mut head).ok()?;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = head.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let (table, entry_size, entries) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    const PT_INTERP: u64 = 3;
    for entry in 0..entries {
        let at = usize::try_from(table + entry * entry_size).ok()?;
        if number(at, 4)? == PT_INTERP {
            let (offset, size) = (number(at + 8, 8)?, number(at + 32, 8)?.min(INTERPRETER_LENGTH_MAX));
            let mut name = vec![0; size as usize];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut name, offset).ok()?;
            return Some(String::from_utf8(name).ok()?.trim_end_matches('\0').to_owned());
        }
    }
    None
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
            copy_tree(&entry.path(), &target)?;
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn at<E: std::fmt::Display>(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> String {
    let path = path.as_ref().display().to_string();
    move |error| format!("cannot {what} {path}: {error}")
}
