//! From a pod's specification to what the supervisor runs: program, environment, user, root file system, limits.
//!
//! What this machine cannot honour is either refused with the reason a kubelet would give or told as a note, which
//! becomes an event; nothing is dropped in silence.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::environment::{self, Surroundings};
use super::pod::PodContext;
use super::state::Role;
use super::volumes;
use crate::cluster::TOKEN_DIR;
use crate::image::{Image, host_architecture};
use crate::node::Limits;
use crate::node::cgroup::{self, Cgroup};
use crate::node::supervisor::check::Isolation;
use crate::node::supervisor::protocol::{Command, ImageRoot, Launch, Mount, Root, User};
use crate::object;

const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const SHM_SIZE_BYTES: u64 = 64 << 20;
/// The capabilities that container runtimes leave a container, as a bit mask.
const CAPABILITIES_DEFAULT: u64 = 0xa80425fb;

/// By number, as the kernel counts them.
const CAPABILITY_NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What to run, its control group, and what could not be done as it was asked.
pub(super) struct Prepared {
    pub(super) launch: Launch,
    pub(super) cgroup: Option<Arc<Cgroup>>,
    pub(super) notes: Vec<String>,
    /// Where the program leaves its last words.
    pub(super) termination_log: PathBuf,
}

/// Err is the reason why the container cannot be made (CreateContainerConfigError).
pub(super) fn prepare(pod: &PodContext, spec: &Value, image: &Image, attempt: u32) -> Result<Prepared, String> {
    let object = pod.object();
    let name = object::str_at(spec, "/name");
    let mut notes = Vec::new();
    let command = command(pod, &object, spec, image, &mut notes)?;
    notes.extend(not_applied(pod, &object, spec));
    let cgroup = cgroup(pod, spec, name)?;
    let limits = limits(spec);
    let in_groups = cgroup.is_some();
    let memory_limited = cgroup.as_ref().is_some_and(|cgroup| cgroup.has_memory());
    let termination_log = termination_log(pod, name)?;
    let launch = Launch {
        root: root(pod, &object, spec, image, (attempt, &termination_log))?,
        hostname: hostname(&object),
        cgroup_procs: cgroup.as_ref().map(|it| it.procs_files()).unwrap_or_default(),
        cgroup_dirs: cgroup.as_ref().map(|it| it.dirs()).unwrap_or_default(),
        cpu_limit_milli: limits.cpu_limit_milli.filter(|_| !in_groups),
        memory_limit_bytes: limits.memory_limit_bytes.filter(|_| !memory_limited),
        log: log_path(pod, name),
        bind_address: Some(pod.address).filter(|_| !object::bool_at(&object, "/spec/hostNetwork")),
        stdin: object::bool_at(spec, "/stdin"),
        stdin_once: object::bool_at(spec, "/stdinOnce"),
        tty: object::bool_at(spec, "/tty"),
        command,
    };
    Ok(Prepared { launch, cgroup, notes, termination_log })
}

pub(super) fn log_path(pod: &PodContext, container: &str) -> PathBuf {
    pod.dir.join("logs").join(format!("{container}.log"))
}

/// The log of the run before this one.
pub(super) fn previous_log_path(pod: &PodContext, container: &str) -> PathBuf {
    pod.dir.join("logs").join(format!("{container}.previous.log"))
}

fn hostname(pod: &Value) -> String {
    match object::str_at(pod, "/spec/hostname") {
        "" => object::name(pod).chars().take(63).collect(),
        given => given.to_owned(),
    }
}

/// The command that a container runs, also the frame for an exec in it.
pub(super) fn command(
    pod: &PodContext,
    object: &Value,
    spec: &Value,
    image: &Image,
    notes: &mut Vec<String>,
) -> Result<Command, String> {
    let wishes = &image.config.config;
    let variables = environment::variables(&surroundings(pod, object), spec)?;
    let list = |pointer: &str| -> Vec<String> {
        let items = object::array_at(spec, pointer).iter().filter_map(Value::as_str);
        items.map(|text| environment::expand(text, &variables)).collect()
    };
    let (own_command, args) = (list("/command"), list("/args"));
    let mut argv = if own_command.is_empty() { wishes.entrypoint.clone() } else { own_command.clone() };
    if !args.is_empty() {
        argv.extend(args);
    } else if own_command.is_empty() {
        argv.extend(wishes.cmd.clone());
    }
    let mut env = BTreeMap::from([("PATH".to_owned(), PATH_DEFAULT.to_owned())]);
    env.extend(wishes.env.iter().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())));
    env.insert("HOSTNAME".to_owned(), hostname(object));
    if pod.kubelet.isolation == Isolation::None {
        env.insert("KUBECONFIG".to_owned(), pod.kubelet.config.kubeconfig.display().to_string());
    }
    env.extend(variables);
    let working_dir = match object::str_at(spec, "/workingDir") {
        "" => wishes.working_dir.clone(),
        given => given.to_owned(),
    };
    Ok(Command {
        argv,
        env: env.into_iter().collect(),
        working_dir,
        user: user(pod, object, spec, image, notes)?,
        no_new_privileges: security(object, spec, "allowPrivilegeEscalation") == Some(&Value::Bool(false)),
        capabilities: capabilities(spec),
    })
}

/// What the environment and the files of a pod are made of besides its specification.
pub(super) fn surroundings<'a>(pod: &'a PodContext, object: &'a Value) -> Surroundings<'a> {
    Surroundings {
        cluster: &pod.kubelet.cluster,
        pod: object,
        pod_ip: pod.address.to_string(),
        host_ip: pod.kubelet.config.address.to_string(),
    }
}

/// A field of the container's security context, else of the pod's.
fn security<'a>(pod: &'a Value, spec: &'a Value, field: &str) -> Option<&'a Value> {
    let of_container = spec.pointer(&format!("/securityContext/{field}"));
    of_container.or_else(|| pod.pointer(&format!("/spec/securityContext/{field}")))
}

fn user(
    pod: &PodContext,
    object: &Value,
    spec: &Value,
    image: &Image,
    notes: &mut Vec<String>,
) -> Result<User, String> {
    let number = |field| security(object, spec, field).and_then(Value::as_u64).and_then(|it| u32::try_from(it).ok());
    let name = object::str_at(spec, "/name");
    let (image_user, image_group) = image.config.config.user.split_once(':').unwrap_or((&image.config.config.user, ""));
    let wanted = number("runAsUser").map_or_else(|| image_user.to_owned(), |uid| uid.to_string());
    if security(object, spec, "runAsNonRoot") == Some(&Value::Bool(true)) {
        let why = match wanted.parse::<u32>() {
            Err(_) if !wanted.is_empty() => {
                format!("image has non-numeric user ({wanted}), cannot verify user is non-root")
            }
            Ok(1..) => String::new(),
            _ => "image will run as root".to_owned(),
        };
        if !why.is_empty() {
            let title = pod.title();
            return Err(format!("container has runAsNonRoot and {why} (pod: \"{title}\", container: {name})"));
        }
    }
    let (uid, own_gid) = image.user(&wanted).ok_or_else(|| {
        format!("container {name}: unable to find user {wanted}: no matching entries in the image's passwd file")
    })?;
    let gid = number("runAsGroup").or_else(|| image.group(image_group)).unwrap_or(own_gid);
    let groups = object::array_at(object, "/spec/securityContext/supplementalGroups").iter();
    let groups = groups.chain(object.pointer("/spec/securityContext/fsGroup"));
    let groups = groups.filter_map(|it| u32::try_from(it.as_u64()?).ok()).collect();
    let own = (rustix::process::geteuid(), rustix::process::getegid());
    let is_mapped = matches!(pod.kubelet.isolation, Isolation::Namespaces { user_namespace: true, .. });
    if own.0.is_root() || is_mapped {
        return Ok(User { uid, gid, groups });
    }
    if uid != own.0.as_raw() {
        notes.push(format!(
            "container {name} runs as user {} instead of {uid}: only root may change the user without user namespaces",
            own.0.as_raw()
        ));
    }
    Ok(User { uid: own.0.as_raw(), gid: own.1.as_raw(), groups: Vec::new() })
}

/// What of the security context has no effect on this machine.
fn not_applied(pod: &PodContext, object: &Value, spec: &Value) -> Option<String> {
    let mut fields = vec!["seccompProfile", "seLinuxOptions", "appArmorProfile"];
    if pod.kubelet.isolation == Isolation::None {
        fields.push("readOnlyRootFilesystem");
    }
    fields.retain(|field| security(object, spec, field).is_some_and(|value| !value.is_null() && *value != false));
    let name = object::str_at(spec, "/name");
    (!fields.is_empty())
        .then(|| format!("container {name} is a process of this machine: {} not applied", fields.join(", ")))
}

fn capabilities(spec: &Value) -> u64 {
    if spec.pointer("/securityContext/privileged") == Some(&Value::Bool(true)) {
        return u64::MAX;
    }
    let mask = |list: &str| {
        let names = object::array_at(spec, list).iter().filter_map(Value::as_str);
        names.map(capability_bits).fold(0, |all, bits| all | bits)
    };
    let (added, dropped) = (mask("/securityContext/capabilities/add"), mask("/securityContext/capabilities/drop"));
    CAPABILITIES_DEFAULT & !dropped | added
}

/// A name without its prefix as a bit of the mask, `ALL` as every bit; what no kernel knows is nothing.
fn capability_bits(name: &str) -> u64 {
    let name = name.trim_start_matches("CAP_");
    if name == "ALL" {
        return u64::MAX;
    }
    CAPABILITY_NAMES.iter().position(|known| *known == name).map_or(0, |number| 1 << number)
}

fn milli(spec: &Value, pointer: &str) -> Option<u64> {
    let quantity = autoscaler::quantity::Quantity::parse(spec.pointer(pointer)?.as_str()?).ok()?;
    u64::try_from(quantity.milli()).ok()
}

fn limits(spec: &Value) -> cgroup::Limits {
    cgroup::Limits {
        cpu_request_milli: milli(spec, "/resources/requests/cpu").unwrap_or(0),
        cpu_limit_milli: milli(spec, "/resources/limits/cpu").filter(|it| *it > 0),
        memory_limit_bytes: milli(spec, "/resources/limits/memory").map(|it| it / 1_000).filter(|it| *it > 0),
    }
}

fn cgroup(pod: &PodContext, spec: &Value, name: &str) -> Result<Option<Arc<Cgroup>>, String> {
    let Limits::Cgroups(root) = &pod.kubelet.limits else { return Ok(None) };
    let made = root.create(&pod.uid, name, limits(spec));
    made.map(|it| Some(Arc::new(it))).map_err(|error| format!("cannot make the control group: {error}"))
}

/// An empty file that any user may write.
fn termination_log(pod: &PodContext, container: &str) -> Result<PathBuf, String> {
    let path = pod.dir.join(format!("{container}.termination"));
    let made = fs::write(&path, b"")
        .and_then(|()| fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)));
    made.map_err(|error| format!("cannot create {}: {error}", path.display()))?;
    Ok(path)
}

fn root(
    pod: &PodContext,
    object: &Value,
    spec: &Value,
    image: &Image,
    (attempt, termination_log): (u32, &Path),
) -> Result<Root, String> {
    let mounts = mounts(pod, object, spec)?;
    let Isolation::Namespaces { user_namespace, overlay } = pod.kubelet.isolation else {
        // The token comes by KUBECONFIG; anything else must be where the pod asks for it.
        if let Some(mount) = mounts.iter().find(|mount| mount.target != TOKEN_DIR) {
            let why = "this machine allows no mount namespaces to an ordinary user, so a pod sees the machine's own \
                       files; allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or \
                       kernel.apparmor_restrict_unprivileged_userns=0) or run nanokube as root";
            return Err(format!("FailedMount: cannot mount {}: {why}", mount.target));
        }
        return Ok(Root::Host { rootfs: image.rootfs.clone() });
    };
    let name = object::str_at(spec, "/name");
    let scratch = pod.dir.join("containers").join(format!("{name}-{attempt}"));
    fs::create_dir_all(&scratch).map_err(|error| format!("cannot create {}: {error}", scratch.display()))?;
    let mut all = vec![hosts_file(pod, object)?, hostname_file(pod, object)?];
    let resolver = PathBuf::from("/etc/resolv.conf");
    if resolver.exists() {
        all.push(Mount { source: resolver, target: "/etc/resolv.conf".to_owned(), read_only: true });
    }
    all.extend(mounts);
    let target = match object::str_at(spec, "/terminationMessagePath") {
        "" => "/dev/termination-log",
        given => given,
    };
    all.push(Mount { source: termination_log.to_owned(), target: target.to_owned(), read_only: false });
    // These would end a path in the options of an overlay.
    let is_plain = |path: &Path| !path.to_string_lossy().contains([',', ':', '\\']);
    let overlay = overlay && is_plain(&image.rootfs) && is_plain(&scratch);
    Ok(Root::Image(ImageRoot {
        rootfs: image.rootfs.clone(),
        scratch,
        overlay,
        read_only: security(object, spec, "readOnlyRootFilesystem") == Some(&Value::Bool(true)),
        user_namespace,
        mounts: all,
        shm_size_bytes: SHM_SIZE_BYTES,
    }))
}

fn mounts(pod: &PodContext, object: &Value, spec: &Value) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for mount in object::array_at(spec, "/volumeMounts") {
        let name = object::str_at(mount, "/name");
        let mut source = volumes::place(pod, object, name).ok_or_else(|| format!("no volume is named {name:?}"))?;
        let sub = match object::str_at(mount, "/subPathExpr") {
            "" => object::str_at(mount, "/subPath").to_owned(),
            expression => environment::expand(expression, &environment::variables(&surroundings(pod, object), spec)?),
        };
        if sub.split('/').any(|part| part == "..") || sub.starts_with('/') {
            return Err(format!("subPath {sub:?} of volume {name:?} leads out of it"));
        }
        if !sub.is_empty() {
            let inside = source.join(&sub);
            if !inside.exists() {
                make_inside(&source, &inside)
                    .map_err(|error| format!("cannot create {}: {error}", inside.display()))?;
            }
            source = inside;
        }
        let target = object::str_at(mount, "/mountPath").to_owned();
        mounts.push(Mount { source, target, read_only: object::bool_at(mount, "/readOnly") });
    }
    Ok(mounts)
}

/// Makes a directory in a volume, for whoever may use the volume itself.
fn make_inside(volume: &Path, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mode = fs::metadata(volume)?.permissions();
    dir.ancestors().take_while(|made| *made != volume).try_for_each(|made| fs::set_permissions(made, mode.clone()))
}

/// Whether a container that ended with this code does not start again.
pub(super) fn is_final(role: Role, policy: &str, exit_code: i32) -> bool {
    match (role, policy) {
        (Role::Sidecar, _) => false,
        (Role::Init, "Never") => true,
        (Role::Init, _) => exit_code == 0,
        (Role::Main, "Never") => true,
        (Role::Main, "OnFailure") => exit_code == 0,
        (Role::Main, _) => false,
    }
}

fn hostname_file(pod: &PodContext, object: &Value) -> Result<Mount, String> {
    let source = pod.dir.join("etc-hostname");
    let written = fs::write(&source, format!("{}\n", hostname(object)));
    written.map_err(|error| format!("cannot write {}: {error}", source.display()))?;
    Ok(Mount { source, target: "/etc/hostname".to_owned(), read_only: false })
}

fn hosts_file(pod: &PodContext, object: &Value) -> Result<Mount, String> {
    let source = write_hosts(pod, object)?;
    Ok(Mount { source, target: "/etc/hosts".to_owned(), read_only: false })
}

/// `/etc/hosts` with the pod itself and, as there is no name server here, every Service under its names.
pub(super) fn write_hosts(pod: &PodContext, object: &Value) -> Result<PathBuf, String> {
    let mut text = format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n{}\t{}\n", pod.address, hostname(object));
    for service in pod.kubelet.cluster.list("services", None).items {
        let (ip, name) = (object::str_at(&service, "/spec/clusterIP"), object::name(&service));
        if matches!(ip, "" | "None") {
            continue;
        }
        let namespace = object::namespace(&service);
        let short = if namespace == object::namespace(object) { format!(" {name}") } else { String::new() };
        let names = format!("{name}.{namespace}.svc.cluster.local {name}.{namespace}.svc {name}.{namespace}{short}");
        text.push_str(&format!("{ip}\t{names}\n"));
    }
    for alias in object::array_at(object, "/spec/hostAliases") {
        let names = object::array_at(alias, "/hostnames").iter().filter_map(Value::as_str).collect::<Vec<_>>();
        text.push_str(&format!("{}\t{}\n", object::str_at(alias, "/ip"), names.join(" ")));
    }
    let source = pod.dir.join("etc-hosts");
    if fs::read_to_string(&source).is_ok_and(|current| current == text) {
        return Ok(source);
    }
    // In place: containers have this very file mounted.
    fs::write(&source, text).map_err(|error| format!("cannot write {}: {error}", source.display()))?;
    Ok(source)
}

/// Why an image of another processor cannot run here, if it is one.
pub(super) fn wrong_architecture(image: &Image) -> Option<String> {
    let (found, here) = (image.config.architecture.as_str(), host_architecture());
    (found != here).then(|| format!("the image is for {found}, this machine is {here}"))
}
