//! Gives each pod its own ports, though all pods share the machine's network.
//!
//! A server that binds to "any address" would take the port from every other pod. A seccomp filter stops `bind` alone
//! and asks the supervisor, which binds the very same socket to the pod's address instead (for IPv6 sockets to that
//! address in its IPv4-mapped form). Port 0 and particular addresses are left as they are. The program sees a `bind`
//! that succeeded or failed as usual; every other system call is untouched. Needs Linux 5.9, else there is no filter.

use std::io;
use std::mem::{offset_of, size_of};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The largest socket address there is (`struct sockaddr_storage`).
const ADDRESS_SIZE_MAX: usize = 128;
const SOCKADDR_IN_SIZE: usize = 16;
const SOCKADDR_IN6_SIZE: usize = 28;

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: Option<u32> = Some(0xc000_00b7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const AUDIT_ARCH: Option<u32> = None;

/// What a stopped `bind` should become.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// As the program wants it.
    AsIs,
    /// With this address instead.
    With(Vec<u8>),
}

/// Answers the `bind` calls of one container.
pub(super) struct Binder {
    listener: OwnedFd,
    address: Ipv4Addr,
}

/// Whether this kernel, and whatever guards it, lets us do all that is needed.
pub(super) fn is_possible() -> bool {
    let own = || -> io::Result<()> {
        let process = pidfd_open(std::process::id() as i32)?;
        take_file(&process, 2).map(drop)
    };
    AUDIT_ARCH.is_some() && own().is_ok()
}

/// Sets the filter for this process and all its descendants; returns the file on which their calls are answered.
pub(super) fn install() -> io::Result<OwnedFd> {
    let load = |offset: usize| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset as u32);
    let unless_equal_skip =
        |value: u32, skip: u8| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, skip, value);
    let answer = |value: u32| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value);
    let mut program = [
        load(offset_of!(libc::seccomp_data, arch)),
        unless_equal_skip(AUDIT_ARCH.unwrap_or(0), 3),
        load(offset_of!(libc::seccomp_data, nr)),
        unless_equal_skip(libc::SYS_bind as u32, 1),
        answer(libc::SECCOMP_RET_USER_NOTIF),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: `filter` describes `program`, which outlives the call; a non-negative result is a file that we own.
    unsafe {
        let file = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &filter,
        );
        if file < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(file as RawFd)) }
    }
}

fn instruction(code: u32, jump_true: u8, jump_false: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k: value }
}

impl Binder {
    /// Takes the listener out of the process that installed the filter.
    pub(super) fn take(pid: i32, file: RawFd, address: Ipv4Addr) -> io::Result<Binder> {
        Ok(Binder { listener: take_file(&pidfd_open(pid)?, file)?, address })
    }

    pub(super) fn file(&self) -> &OwnedFd {
        &self.listener
    }

    /// Answers one call. A caller that is killed meanwhile needs no answer.
    pub(super) fn answer(&self) {
        // SAFETY: all-zero is a valid request to receive into, which is what the kernel demands.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        if control(&self.listener, NOTIF_RECV, &mut call).is_err() {
            return;
        }
        // SAFETY: plain numbers.
        let mut reply: libc::seccomp_notif_resp = unsafe { std::mem::zeroed() };
        reply.id = call.id;
        match self.bind(&call) {
            Ok(true) => {}
            Ok(false) => reply.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            Err(error) => reply.error = -error.raw_os_error().unwrap_or(libc::EIO),
        }
        let _ = control(&self.listener, NOTIF_SEND, &mut reply); // see above
    }

    /// True when the socket was bound here, false when the program's own call may go on.
    fn bind(&self, call: &libc::seccomp_notif) -> io::Result<bool> {
        let [socket, pointer, length, ..] = call.data.args;
        let wanted = read_memory(call.pid as i32, pointer, (length as usize).min(ADDRESS_SIZE_MAX))?;
        // The process may have ended and its id may be another's by now; then what was read means nothing.
        control(&self.listener, NOTIF_ID_VALID, &mut call.id.clone())?;
        let Plan::With(address) = plan(&wanted, self.address) else { return Ok(false) };
        let socket = take_file(&pidfd_open(thread_group(call.pid as i32)?)?, socket as RawFd)?;
        // SAFETY: `address` is a socket address of its whole length.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), address.len() as u32) };
        match bound {
            0 => Ok(true),
            // An IPv6 socket that is for IPv6 only has no mapped addresses.
            _ if address.len() == SOCKADDR_IN6_SIZE
                && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) =>
            {
                Ok(false)
            }
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// What to make of an address that a program binds to.
fn plan(wanted: &[u8], pod: Ipv4Addr) -> Plan {
    let family = wanted.get(..2).map_or(0, |bytes| i32::from(u16::from_ne_bytes([bytes[0], bytes[1]])));
    let has_port = wanted.get(2..4).is_some_and(|port| port != [0, 0]);
    let mut address = wanted.to_vec();
    match family {
        libc::AF_INET if wanted.len() >= SOCKADDR_IN_SIZE && has_port && wanted[4..8] == [0; 4] => {
            address.truncate(SOCKADDR_IN_SIZE);
            address[4..8].copy_from_slice(&pod.octets());
            Plan::With(address)
        }
        libc::AF_INET6 if wanted.len() >= SOCKADDR_IN6_SIZE && has_port && wanted[8..24] == [0; 16] => {
            address.truncate(SOCKADDR_IN6_SIZE);
            address[8..24].copy_from_slice(&pod.to_ipv6_mapped().octets());
            Plan::With(address)
        }
        _ => Plan::AsIs,
    }
}

const NOTIF_RECV: u64 = request(3, 0, size_of::<libc::seccomp_notif>());
const NOTIF_SEND: u64 = request(3, 1, size_of::<libc::seccomp_notif_resp>());
const NOTIF_ID_VALID: u64 = request(1, 2, size_of::<u64>());

/// The kernel's encoding of an ioctl of the group `!`: direction, size, group, number.
const fn request(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | (b'!' as u64) << 8 | number
}

fn control<T>(file: &OwnedFd, request: u64, argument: &mut T) -> io::Result<()> {
    // SAFETY: `argument` is of the type and size that the request names.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, std::ptr::from_mut(argument)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn read_memory(pid: i32, pointer: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; length];
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: length };
    let remote = libc::iovec { iov_base: pointer as *mut libc::c_void, iov_len: length };
    // SAFETY: `local` describes `bytes`; the kernel checks the other process's addresses.
    let read = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
    if read == length as isize { Ok(bytes) } else { Err(io::Error::from_raw_os_error(libc::EFAULT)) }
}

/// A call may come from any thread; files are taken from its process.
fn thread_group(thread: i32) -> io::Result<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status"))?;
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    group.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers; a non-negative result is a file that we own.
    unsafe {
        let file = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        if file < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(file as RawFd)) }
    }
}

/// A duplicate of another process's file.
fn take_file(process: &OwnedFd, file: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers; a non-negative result is a file that we own, closed on exec.
    unsafe {
        let taken = libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), file, 0);
        if taken < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(taken as RawFd)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: Ipv4Addr = Ipv4Addr::new(127, 16, 1, 7);

    fn v4(port: u16, ip: [u8; 4]) -> Vec<u8> {
        let mut address = (libc::AF_INET as u16).to_ne_bytes().to_vec();
        address.extend(port.to_be_bytes());
        address.extend(ip);
        address.extend([0; 8]);
        address
    }

    fn v6(port: u16, ip: [u8; 16]) -> Vec<u8> {
        let mut address = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
        address.extend(port.to_be_bytes());
        address.extend([0; 4]);
        address.extend(ip);
        address.extend([0; 4]);
        address
    }

    #[test]
    fn any_address_becomes_the_pods_and_all_else_stays() {
        assert_eq!(plan(&v4(8080, [0; 4]), POD), Plan::With(v4(8080, [127, 16, 1, 7])));
        assert_eq!(plan(&v6(8080, [0; 16]), POD), Plan::With(v6(8080, POD.to_ipv6_mapped().octets())));
        for other in
            [v4(0, [0; 4]), v4(80, [127, 0, 0, 1]), v6(0, [0; 16]), vec![], vec![1, 0], v4(80, [0; 4])[..8].to_vec()]
        {
            assert_eq!(plan(&other, POD), Plan::AsIs, "{other:?}");
        }
    }
}
