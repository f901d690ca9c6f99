//! `start`: checks in Minikube's order, then a cluster, its context and its addons.

use anyhow::Result;

use crate::backend::{self, Backend};
use crate::home::Profile;
use crate::speech::Fatal;
use crate::{Call, EXIT_USAGE, addons};

const VERSION: &str = "v1.38.1";
const DRIVERS: [&str; 9] = ["virtualbox", "kvm2", "qemu2", "qemu", "vmware", "none", "docker", "podman", "ssh"];
const COMPONENTS: [&str; 7] = ["kubelet", "kubeadm", "apiserver", "controller-manager", "etcd", "proxy", "scheduler"];
const MEMORY_MIB_MIN: u64 = 1800;
const MEMORY_MIB_DEFAULT: u64 = 3072;

/// Scenario, exit code, reason, message, advice: what stops a start before anything is made.
const FAILURES: [(&str, u8, &str, &str, &str); 8] = [
    (
        "docker-missing",
        65,
        "PROVIDER_DOCKER_NOT_FOUND",
        "The 'docker' provider was not found: exec: \"docker\": executable file not found in $PATH",
        "Install Docker",
    ),
    (
        "docker-down",
        63,
        "PROVIDER_DOCKER_NOT_RUNNING",
        "\"docker version --format <no value>-<no value>:<no value>\" exit status 1: Cannot connect to the Docker \
         daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        "Start the Docker service",
    ),
    (
        "docker-denied",
        69,
        "PROVIDER_DOCKER_NEWGRP",
        "\"docker version\" exit status 1: dial unix /var/run/docker.sock: connect: permission denied",
        "Add your user to the 'docker' group: 'sudo usermod -aG docker $USER && newgrp docker'",
    ),
    (
        "no-driver",
        55,
        "DRV_NOT_DETECTED",
        "No possible driver was detected. Try specifying --driver, or see https://minikube.sigs.k8s.io/docs/start/",
        "",
    ),
    (
        "downgrade",
        106,
        "K8S_DOWNGRADE_UNSUPPORTED",
        "Unable to safely downgrade existing Kubernetes v1.35.1 cluster to v1.34.0",
        "",
    ),
    (
        "offline",
        40,
        "INET_CACHE_KUBECTL",
        "Failed to cache kubectl: dial tcp: lookup dl.k8s.io: no such host",
        "Check your firewall rules and proxy",
    ),
    ("as-root", 57, "DRV_AS_ROOT", "The \"docker\" driver should not be used with root privileges.", ""),
    (
        "virtualization-off",
        38,
        "HOST_VIRT_UNAVAILABLE",
        "Failed to start host: This computer doesn't have VT-X/AMD-v enabled",
        "Enable virtualization in the firmware, or use another driver: --driver=docker",
    ),
];

pub(crate) fn run(mut call: Call) -> Result<u8> {
    check_usage(&call)?;
    let name = call.given.profile().to_owned();
    let before = call.home.find(&name).cloned();
    call.speech.step(0, &format!("[{name}] minikube {VERSION} on Debian 12"));
    check_driver(&call, before.as_ref())?;
    let mut profile = match before {
        Some(before) => resumed(&call, before)?,
        None => created(&call)?,
    };
    if call.given.is_on("dry-run") {
        call.speech.notice("dry-run validation complete!");
        return Ok(0);
    }
    call.speech.step(3, &format!("Starting \"{name}\" primary control-plane node in \"{name}\" cluster"));
    call.speech.step(5, "Pulling base image v0.0.50 ...");
    if call.scenario.has("disk-full") {
        let advice = "Try running: docker system prune";
        return Err(Fatal::new(
            26,
            "RSRC_DOCKER_STORAGE",
            "Docker is out of disk space! (/var is at 100% of capacity).",
            advice,
        )
        .into());
    }
    call.speech.step(11, &format!("Preparing Kubernetes {} on {} ...", profile.kubernetes_version, profile.runtime));
    for config in &profile.extra_config {
        call.speech.info(config);
    }
    boot(&mut call, &name, &mut profile)?;
    call.home.put(&name, profile.clone())?;
    enable_addons(&call, &name, &mut profile)?;
    call.home.put(&name, profile)?;
    let done = "Done! kubectl is now configured to use";
    call.speech.step(19, &format!("{done} \"{name}\" cluster and \"default\" namespace by default"));
    Ok(0)
}

fn boot(call: &mut Call, name: &str, profile: &mut Profile) -> Result<()> {
    call.speech.step(13, "Booting up control plane ...");
    let unknown_flag = profile.extra_config.iter().find(|config| {
        let key = config.strip_prefix("controller-manager.").and_then(|rest| rest.split_once('='));
        key.is_some_and(|(key, _)| !backend::is_known_controller_flag(key))
    });
    if unknown_flag.is_some() {
        // The machine is there and stays; what runs on it ends again and again.
        call.home.put(name, profile.clone())?;
    }
    if call.scenario.has("wait-timeout") || unknown_flag.is_some() {
        let timeout = call.given.value("wait-timeout").unwrap_or("6m0s");
        let message = format!("failed to start node: wait {timeout} for node: wait for healthy API server");
        return Err(Fatal::new(80, "GUEST_START", message, "").into());
    }
    if let Some(backend) = Backend::new(call.home.cluster_directory(name))? {
        // Settings of a control plane that runs are taken by starting it anew.
        if call.home.find(name).is_some_and(|before| before.is_running && before.extra_config != profile.extra_config) {
            backend.stop()?;
        }
        backend.start(profile)?;
        backend::write_context(&backend, name, !call.given.is_on("keep-context"))?;
    }
    profile.is_running = true;
    profile.is_paused = false;
    call.speech.step(17, "Verifying Kubernetes components...");
    Ok(())
}

fn enable_addons(call: &Call, name: &str, profile: &mut Profile) -> Result<()> {
    // A name that is no addon is ignored without a word.
    for addon in call.given.list("addons").into_iter().filter(|addon| addons::NAMES.contains(addon)) {
        if call.scenario.has("addon-fails") {
            call.speech.warning(&format!("Enabling '{addon}' returned an error: running callbacks: [exit status 1]"));
        } else if !profile.addons.iter().any(|enabled| enabled == addon) {
            profile.addons.push(addon.to_owned());
        }
    }
    for addon in profile.addons.clone() {
        addons::apply(call, name, &addon)?;
    }
    call.speech.step(18, &format!("Enabled addons: {}", profile.addons.join(", ")));
    Ok(())
}

fn usage(message: impl Into<String>) -> anyhow::Error {
    Fatal::new(EXIT_USAGE, "MK_USAGE", message, "").into()
}

fn check_usage(call: &Call) -> Result<()> {
    let name = call.given.profile();
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    if !is_plain || name.len() < 2 || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(usage(format!("Profile name {name:?} is not valid")));
    }
    for config in call.given.list("extra-config") {
        let component = config.split_once('=').and_then(|(key, _)| key.split_once('.')).map(|(component, _)| component);
        match component {
            Some(component) if COMPONENTS.contains(&component) => {}
            Some(component) => return Err(usage(format!("unknown component {component:?}"))),
            None => {
                let message = format!("invalid argument {config:?} for \"--extra-config\" flag");
                return Err(usage(message));
            }
        }
    }
    Ok(())
}

fn check_driver(call: &Call, before: Option<&Profile>) -> Result<()> {
    let (given, scenario) = (call.given.value("driver").or(call.given.value("vm-driver")), &call.scenario);
    if let Some(driver) = given.filter(|driver| !DRIVERS.contains(driver)) {
        let message = format!("The driver '{driver}' is not supported on linux/amd64");
        return Err(Fatal::new(56, "DRV_UNSUPPORTED_OS", message, "").into());
    }
    let name = call.given.profile();
    if let (Some(before), Some(driver)) = (before, given)
        && before.driver != driver
    {
        let message = format!(
            "The existing \"{name}\" cluster was created using the \"{}\" driver, which is incompatible with \
                 requested \"{driver}\" driver.",
            before.driver
        );
        let advice = format!("Delete the existing '{name}' cluster using: 'minikube delete -p {name}'");
        return Err(Fatal::new(81, "GUEST_DRIVER_MISMATCH", message, advice).into());
    }
    if let Some((_, exit, name, message, advice)) = FAILURES.iter().find(|(name, ..)| scenario.has(name)) {
        return Err(Fatal::new(*exit, name, *message, *advice).into());
    }
    let how = if before.is_some() { "existing profile" } else { "user configuration" };
    call.speech.step(1, &format!("Using the {} driver based on {how}", given.unwrap_or("docker")));
    Ok(())
}

fn created(call: &Call) -> Result<Profile> {
    let cpus = call.given.value("cpus").unwrap_or("2");
    let memory_mib = call.given.value("memory").map_or(Ok(MEMORY_MIB_DEFAULT), memory_mib)?;
    check_resources(call, cpus, memory_mib)?;
    let runtime = call.given.value("container-runtime").unwrap_or("docker");
    if runtime == "docker" {
        let message =
            "Starting v1.39.0, minikube will default to \"containerd\" container runtime. See #21973 for more info.";
        call.speech.warning(message);
    }
    let driver = call.given.value("driver").unwrap_or("docker");
    call.speech.step(8, &format!("Creating {driver} container (CPUs={cpus}, Memory={memory_mib}MB) ..."));
    Ok(Profile {
        driver: driver.to_owned(),
        runtime: runtime.to_owned(),
        kubernetes_version: call.given.value("kubernetes-version").unwrap_or("v1.35.1").to_owned(),
        cpus: cpus.to_owned(),
        memory_mib,
        nodes: call.given.value("nodes").and_then(|nodes| nodes.parse().ok()).unwrap_or(1),
        extra_config: call.given.list("extra-config").iter().map(|config| (*config).to_owned()).collect(),
        ..Profile::default()
    })
}

fn resumed(call: &Call, mut profile: Profile) -> Result<Profile> {
    let name = call.given.profile();
    let (driver, doing) =
        (&profile.driver, if profile.is_running { "Updating the running" } else { "Restarting existing" });
    call.speech.step(8, &format!("{doing} {driver} container for \"{name}\" ..."));
    let asked_mib = call.given.value("memory").map(memory_mib).transpose()?;
    let changes = [
        ("memory size", asked_mib.is_some_and(|asked| asked != profile.memory_mib)),
        ("CPUs", call.given.value("cpus").is_some_and(|asked| asked != profile.cpus)),
    ];
    for (what, _) in changes.iter().filter(|(_, is_asked)| *is_asked) {
        let remedy = "Please first delete the cluster.";
        call.speech.warning(&format!("You cannot change the {what} for an existing minikube cluster. {remedy}"));
    }
    let extra_config = call.given.list("extra-config");
    if !extra_config.is_empty() {
        profile.extra_config = extra_config.iter().map(|config| (*config).to_owned()).collect();
    }
    Ok(profile)
}

fn check_resources(call: &Call, cpus: &str, memory_mib: u64) -> Result<()> {
    if call.scenario.has("memory-over-docker") {
        let message = format!("Docker Desktop has only 1975MB memory but you specified {memory_mib}MB");
        return Err(usage(message));
    }
    if call.scenario.has("memory-over-system") {
        let message = format!("Requested memory allocation {memory_mib}MB is more than your system limit 3934MB.");
        let advice = "Start minikube with less memory allocated: 'minikube start --memory=3072mb'";
        return Err(Fatal::new(10, "RSRC_OVER_ALLOC_MEM", message, advice).into());
    }
    if memory_mib < MEMORY_MIB_MIN {
        let message = format!("Requested memory allocation {memory_mib}MiB is less than the usable minimum of 1800MB");
        return Err(Fatal::new(23, "RSRC_INSUFFICIENT_REQ_MEMORY", message, "").into());
    }
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let asked = if ["max", "no-limit"].contains(&cpus) { available } else { cpus.parse().unwrap_or(0) };
    if asked < 2 || asked > available.max(2) {
        let message = format!("Requested cpu count {asked} is not between 2 and the available {available}");
        return Err(Fatal::new(29, "RSRC_INSUFFICIENT_CORES", message, "").into());
    }
    Ok(())
}

/// `4g`, `4096`, `4096mb`.
fn memory_mib(text: &str) -> Result<u64> {
    if ["max", "no-limit"].contains(&text) {
        return Ok(MEMORY_MIB_DEFAULT);
    }
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let number: u64 = digits.parse().map_err(|_| usage(format!("Unable to parse memory '{text}'")))?;
    match text[digits.len()..].to_lowercase().as_str() {
        "" | "m" | "mb" | "mib" => Ok(number),
        "g" | "gb" | "gib" => Ok(number * 1024),
        _ => Err(usage(format!("Unable to parse memory '{text}'"))),
    }
}
