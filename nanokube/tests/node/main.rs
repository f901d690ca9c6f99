//! The node with real processes: what a pod sees, how it ends, and that nothing of it is ever left.
//!
//! All tests pass for root and for an ordinary user; the last one runs the others as one where it can.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod golden;
mod lab;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lab::{Lab, processes_with};
use nanokube::cli::Limiter;
use nanokube::node::log::LogOptions;
use serde_json::{Value, json};

fn never() -> Value {
    json!({ "restartPolicy": "Never" })
}

fn app(script: &str) -> Value {
    json!({ "name": "app", "image": lab::IMAGE, "command": ["/bin/sh", "-c", script] })
}

fn pod(container: Value, more: Value) -> Value {
    let mut spec = json!({ "containers": [container] });
    lab::merge(&mut spec, more);
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_well_leaves_a_succeeded_pod_and_its_log() {
    let lab = Lab::start();
    lab.create("once", pod(app("echo hello; echo oops >&2"), never()));
    let pod = lab.until_phase("once", "Succeeded").await;
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((ended["exitCode"].as_i64(), ended["reason"].as_str()), (Some(0), Some("Completed")));
    let mut lines: Vec<_> = lab.log("once", LogOptions::default()).await.lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["hello", "oops"]);
    lab.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_sees_its_environment_its_files_and_nobody_elses() {
    let lab = Lab::start();
    lab.put("configmaps", "settings", json!({ "data": { "colour": "blue" } }));
    let mut container =
        app("echo ip=$POD_IP image=$FROM_IMAGE colour=$COLOUR; cat /etc/settings/colour; echo; cat /etc/hostname; \
         hostname; ls /; : > /scratch/file && echo wrote; echo $$$$; \
         read token < /var/run/secrets/kubernetes.io/serviceaccount/token; echo token=$token; id -u; sleep 1000");
    lab::merge(
        &mut container,
        json!({
            "env": [
                { "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
                { "name": "COLOUR", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "colour" } } },
            ],
            "volumeMounts": [
                { "name": "settings", "mountPath": "/etc/settings" },
                { "name": "scratch", "mountPath": "/scratch", "subPathExpr": "of/$(COLOUR)" },
            ],
            "securityContext": { "runAsUser": 65532, "runAsGroup": 65532 },
        }),
    );
    let settings = json!({ "name": "settings", "configMap": { "name": "settings" } });
    let volumes = json!([settings, { "name": "scratch", "emptyDir": {} }]);
    lab.create("seer", pod(container, json!({ "volumes": volumes })));
    let running = lab.until_ready("seer").await;
    let ip = running["status"]["podIP"].as_str().unwrap();
    let log = wait_for_log(&lab, "seer", "65532").await;
    assert!(log.contains(&format!("ip={ip} image=yes colour=blue\nblue\nseer\nseer\n")), "{log}");
    assert!(!log.lines().any(|line| line == "root" || line == "home"), "it sees the machine's root: {log}");
    assert!(log.lines().any(|line| line == "wrote"), "a part of a volume is for whom the volume is for: {log}");
    assert!(log.lines().any(|line| line == "1"), "it is not process 1 of its own namespace: {log}");
    let token = log.lines().find_map(|line| line.strip_prefix("token=")).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap_or_default()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["sub"], "system:serviceaccount:default:default", "not that of an administrator: {log}");
    lab.put("configmaps", "settings", json!({ "data": { "colour": "green" } }));
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while lab.exec("seer", "cat /etc/settings/colour").await.0 != "green" {
        assert!(std::time::Instant::now() < deadline, "the change of the ConfigMap never came through");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    lab.node.shutdown().await;
}

async fn wait_for_log(lab: &Lab, name: &str, text: &str) -> String {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let log = lab.log(name, LogOptions::default()).await;
        if log.contains(text) {
            return log;
        }
        assert!(std::time::Instant::now() < deadline, "never said {text:?}: {log}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_on_the_network_of_its_host_has_the_address_of_its_host() {
    let lab = Lab::start();
    lab.create("host", pod(app("sleep 1000"), json!({ "hostNetwork": true })));
    lab.run("own", "sleep 1000", json!({}));
    let (host, own) = (lab.until_ready("host").await, lab.until_ready("own").await);
    assert_eq!(host["status"]["podIP"], host["status"]["hostIP"]);
    assert_ne!(own["status"]["podIP"], own["status"]["hostIP"]);
    lab.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_inside_and_their_exit_code_comes_back() {
    let lab = Lab::start();
    lab.run("shell", "touch /made-by-main; echo made; sleep 1000", json!({}));
    lab.until_ready("shell").await;
    wait_for_log(&lab, "shell", "made").await;
    assert_eq!(lab.exec("shell", "ls /made-by-main; exit 7").await, ("/made-by-main\n".to_owned(), 7));
    assert_eq!(lab.exec("shell", "echo $FROM_IMAGE").await, ("yes\n".to_owned(), 0));
    lab.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashing_container_is_restarted_at_once_then_backs_off_and_keeps_its_previous_log() {
    let lab = Lab::start();
    lab.run("crash", "echo run; exit 3", json!({}));
    let pod = lab
        .until("crash", "backs off", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        })
        .await;
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(status["restartCount"], 1);
    let message = status["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.starts_with("back-off 10s restarting failed container=app pod=crash_default("), "{message}");
    lab.until_event("BackOff: Back-off restarting failed container app in pod crash_default(").await;
    assert_eq!(lab.log("crash", LogOptions { previous: true, ..LogOptions::default() }).await, "run\n");
    lab.delete("crash");
    lab.until_gone("crash").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_named_and_found_once_it_is_loaded() {
    let lab = Lab::start();
    lab.create(
        "none",
        json!({ "containers": [{ "name": "app", "image": "localhost/none:1", "imagePullPolicy": "Never" }] }),
    );
    let pod = lab
        .until("none", "waits", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImageNeverPull"
        })
        .await;
    let message = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
    assert_eq!(message, "Container image \"localhost/none:1\" is not present with pull policy of Never");
    lab.create(
        "pull",
        json!({ "containers": [{ "name": "app", "image": "localhost/none:1", "imagePullPolicy": "IfNotPresent" }] }),
    );
    lab.until("pull", "gave up", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
    })
    .await;
    assert!(lab.until_event("Failed: Failed to pull image").await.contains("nanokube image load"));
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_decide_about_readiness_and_restarts() {
    let lab = Lab::start();
    let probe = |test: &str| json!({ "exec": { "command": ["/bin/sh", "-c", test] }, "periodSeconds": 1, "failureThreshold": 1 });
    lab.run(
        "probed",
        "sleep 1000",
        json!({ "readinessProbe": probe("test -e /ready"), "livenessProbe": probe("! test -e /dead") }),
    );
    lab.until_phase("probed", "Running").await;
    lab.until_event("Unhealthy: Readiness probe failed: ").await;
    lab.exec("probed", "touch /ready").await;
    lab.until_ready("probed").await;
    lab.exec("probed", "touch /dead").await;
    lab.until_event("Unhealthy: Liveness probe failed: ").await;
    lab.until("probed", "is restarted", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(1)
    })
    .await;
    lab.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_liveness_probe_restarts_the_container() {
    let lab = Lab::start();
    let probe = json!({ "tcpSocket": { "port": 1 }, "periodSeconds": 1, "failureThreshold": 2 });
    lab.run("dead", "sleep 1000", json!({ "livenessProbe": probe }));
    lab.until("dead", "is restarted", |pod| pod["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(1))
        .await;
    lab.until_event("Killing: Container app failed liveness probe, will be restarted").await;
    lab.until_event("Unhealthy: Liveness probe failed: dial tcp").await;
    lab.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_may_say_goodbye_and_one_that_will_not_go_is_killed() {
    let lab = Lab::start();
    // The first process of a container is deaf to SIGTERM until it has set its trap, and only it knows when that is.
    let polite = "trap 'echo bye > /dev/termination-log; exit 0' TERM; touch /trapped; while :; do sleep 0.05; done";
    let trapped = json!({ "exec": { "command": ["/bin/sh", "-c", "test -e /trapped"] }, "periodSeconds": 1 });
    let mut container = app(polite);
    container["readinessProbe"] = trapped;
    lab.create("polite", pod(container, json!({ "terminationGracePeriodSeconds": 30 })));
    lab.run("stubborn", "trap '' TERM; while :; do sleep 0.05; done", json!({}));
    lab.until_ready("polite").await;
    lab.until_ready("stubborn").await;
    let mut watch = lab.cluster.watch("pods", None, lab.cluster.revision()).unwrap();
    lab.delete("polite");
    lab.delete("stubborn");
    lab.until_gone("polite").await;
    lab.until_gone("stubborn").await;
    let changes = watch.pending().unwrap();
    let last = |name: &str| {
        let of_pod = changes.iter().filter(|change| change.object["metadata"]["name"] == name);
        of_pod
            .map(|change| change.object["status"].clone())
            .rfind(|status| status["containerStatuses"][0]["state"].get("terminated").is_some())
            .unwrap()
    };
    let ended = |name: &str| last(name)["containerStatuses"][0]["state"]["terminated"].clone();
    assert_eq!((ended("polite")["exitCode"].as_i64(), last("polite")["phase"].as_str()), (Some(0), Some("Succeeded")));
    assert_eq!(ended("polite")["message"], "bye\n");
    assert_eq!(
        (ended("stubborn")["exitCode"].as_i64(), last("stubborn")["phase"].as_str()),
        (Some(137), Some("Failed"))
    );
    lab.until_event("Killing: Stopping container app").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_run_in_order_and_a_sidecar_goes_last() {
    let lab = Lab::start();
    let container = |name: &str, script: &str| {
        json!({ "name": name, "image": lab::IMAGE, "command": ["/bin/sh", "-c", script],
        "volumeMounts": [{ "name": "shared", "mountPath": "/shared" }] })
    };
    let mut sidecar = container(
        "side",
        "trap 'echo side >> /shared/log; exit 0' TERM; echo side >> /shared/log; touch /shared/wrote; while :; do sleep 0.05; done",
    );
    sidecar["restartPolicy"] = "Always".into();
    // What comes after a sidecar waits for its startup probe, not for its first line.
    let wrote = json!({ "exec": { "command": ["/bin/sh", "-c", "test -e /shared/wrote"] }, "periodSeconds": 1 });
    sidecar["startupProbe"] = wrote;
    lab.create(
        "many",
        json!({
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 20,
            "initContainers": [
                container("first", "echo first >> /shared/log"),
                sidecar,
                container("second", "echo second >> /shared/log"),
            ],
            "containers": [container("app", "echo app >> /shared/log; cat /shared/log")],
            "volumes": [{ "name": "shared", "emptyDir": {} }],
        }),
    );
    lab.until_phase("many", "Succeeded").await;
    assert_eq!(lab.log("many", LogOptions::default()).await, "first\nside\nsecond\napp\n");
    let pod = lab
        .until("many", "has no running sidecar", |pod| {
            pod["status"]["initContainerStatuses"][1]["state"].get("terminated").is_some()
        })
        .await;
    assert_eq!(pod["status"]["initContainerStatuses"][1]["state"]["terminated"]["exitCode"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_keeps_its_files_from_one_pod_to_the_next() {
    let lab = Lab::start();
    let claim = || lab.cluster.get("persistentvolumeclaims", "default", "data");
    let container = |script: &str| {
        let mut container = app(script);
        lab::merge(&mut container, json!({ "volumeMounts": [{ "name": "v", "mountPath": "/data" }] }));
        container
    };
    let volume = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": "data" } }]);
    let spec = |script: &str| pod(container(script), json!({ "restartPolicy": "Never", "volumes": volume }));
    lab.create("writer", spec("echo kept > /data/file"));
    lab.until_event(
        "FailedMount: MountVolume.SetUp failed for volume \"v\" : persistentvolumeclaim \"data\" not found",
    )
    .await;
    let requests = json!({ "requests": { "storage": "1Gi" } });
    lab.put(
        "persistentvolumeclaims",
        "data",
        json!({ "spec": { "accessModes": ["ReadWriteOnce"], "resources": requests } }),
    );
    lab.until_phase("writer", "Succeeded").await;
    assert_eq!(claim().unwrap()["status"]["phase"], "Bound");
    lab.delete("writer");
    lab.until_gone("writer").await;
    lab.create("reader", spec("cat /data/file"));
    lab.until_phase("reader", "Succeeded").await;
    assert_eq!(lab.log("reader", LogOptions::default()).await, "kept\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_daemonize_end_with_their_pod() {
    let lab = Lab::start();
    let marker = format!("{}.{:05}", 70_000 + rand::random::<u16>() as u32, rand::random::<u16>());
    lab.run("forker", &format!("setsid sh -c 'setsid sleep {marker} & exit 0'; sleep 1000"), json!({}));
    lab.wait("the daemonized process runs", || Some(processes_with(&marker)).filter(|pids| !pids.is_empty())).await;
    lab.delete("forker");
    lab.until_gone("forker").await;
    lab.wait("nothing is left", || processes_with(&marker).is_empty().then_some(())).await;
}

/// Plays the daemon for the next test, in a process of its own that is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the next test"]
async fn daemon_to_be_killed() {
    let Ok(marker) = std::env::var("NANOKUBE_TEST_MARKER") else { return };
    let lab =
        Lab::with(if std::env::var_os("NANOKUBE_TEST_SIGNALS").is_some() { Limiter::Signals } else { Limiter::Auto });
    lab.run(
        "forker",
        &format!("setsid sh -c 'setsid sleep {marker} & exit 0'; trap '' TERM; sleep {marker}"),
        json!({}),
    );
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_pod_outlives_a_daemon_that_is_killed() {
    for signals in [false, true] {
        let marker = format!("{}.{:05}", 70_000 + rand::random::<u16>() as u32, rand::random::<u16>());
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "daemon_to_be_killed", "--ignored"]).env("NANOKUBE_TEST_MARKER", &marker);
        if signals {
            command.env("NANOKUBE_TEST_SIGNALS", "1");
        }
        let mut daemon = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        until("the pod's processes run", || processes_with(&marker).len() >= 2).await;
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        until("nothing is left", || processes_with(&marker).is_empty()).await;
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cpu_limit_holds_whatever_enforces_it() {
    for limiter in [Limiter::Auto, Limiter::Signals] {
        let lab = Lab::with(limiter);
        let limits = json!({ "resources": { "limits": { "cpu": "200m" } } });
        lab.run("busy", "while :; do :; done", limits);
        let used = |lab: &Lab| lab.metrics.pods(None).first().map(|pod| pod.containers[0].1.cpu_nano);
        // The first value may reach back to the start, when nothing was limited yet.
        let first = lab.wait("there is a first value", || used(&lab)).await;
        let cpu_nano = lab.wait("there is a second value", || used(&lab).filter(|next| *next != first)).await;
        assert!((20_000_000..260_000_000).contains(&cpu_nano), "{limiter:?}: {cpu_nano} of 200000000");
        lab.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_is_stamped_with_the_moment_it_is_taken() {
    let lab = Lab::start();
    lab.run("idle", "sleep 1000", json!({}));
    lab.until_phase("idle", "Running").await;
    let before = jiff::Timestamp::now();
    let readings = lab.node.readings().await;
    assert_eq!(readings.len(), 1);
    assert!((before..=jiff::Timestamp::now()).contains(&readings[0].at));
    lab.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_takes_too_much_memory_is_killed_for_it() {
    for limiter in [Limiter::Auto, Limiter::Signals] {
        let lab = Lab::with(limiter);
        let mut container = app("x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done");
        lab::merge(&mut container, json!({ "resources": { "limits": { "memory": "64Mi" } } }));
        lab.create("greedy", pod(container, never()));
        let pod = lab.until_phase("greedy", "Failed").await;
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(
            (ended["reason"].as_str(), ended["exitCode"].as_i64()),
            (Some("OOMKilled"), Some(137)),
            "{limiter:?}"
        );
        lab.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_come_back_with_a_new_daemon_and_lost_ones_that_may_not_restart_have_failed() {
    let first = Lab::start();
    first.run("always", "echo up; sleep 1000", json!({}));
    first.create("never", pod(app("sleep 1000"), never()));
    first.until_ready("always").await;
    first.until_ready("never").await;
    first.node.shutdown().await;
    let (cluster, dir) = (first.cluster.clone(), first.dir.clone());
    drop(first);
    let second = Lab::again(cluster, dir, Limiter::Auto, None);
    let pod = second
        .until("always", "runs again", |pod| {
            pod["status"]["containerStatuses"][0]["restartCount"] == 1
                && nanokube::object::condition_status(pod, "Ready") == Some("True")
        })
        .await;
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((last["exitCode"].as_i64(), last["reason"].as_str()), (Some(255), Some("Unknown")));
    second.until_phase("never", "Failed").await;
    second.node.shutdown().await;
}

/// Plays a server that knows nothing of pods: it binds to any address, in IPv4 and IPv6. Runs in the next test's pods.
#[test]
#[ignore = "run by the next test"]
fn server_at_any_address() {
    use std::io::Write;
    let Ok(port) = std::env::var("NANOKUBE_TEST_PORT") else { return };
    let port: u16 = port.parse().unwrap();
    let v6 = std::net::TcpListener::bind(("::", port + 1)).unwrap();
    let v4 = std::net::TcpListener::bind(("0.0.0.0", port)).unwrap();
    let name = std::env::var("HOSTNAME").unwrap();
    let serve = |listener: std::net::TcpListener, name: String| {
        std::thread::spawn(move || {
            listener.incoming().flatten().for_each(|mut client| client.write_all(name.as_bytes()).unwrap())
        })
    };
    let threads = [serve(v4, name.clone()), serve(v6, name)];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_bind_to_any_address_share_a_port_between_pods() {
    for lab in [Lab::start(), Lab::bare()] {
        let port = 20_000 + rand::random::<u16>() % 9_000;
        for name in ["one", "two"] {
            lab.create(
                name,
                json!({ "containers": [{
                "name": "app",
                "image": lab::IMAGE,
                "command": ["/bin/tests", "--exact", "server_at_any_address", "--ignored"],
                "env": [{ "name": "NANOKUBE_TEST_PORT", "value": port.to_string() }],
                "readinessProbe": { "tcpSocket": { "port": port }, "periodSeconds": 1, "failureThreshold": 30 },
            }] }),
            );
        }
        for name in ["one", "two"] {
            let pod = lab.until_ready(name).await;
            let address = pod["status"]["podIP"].as_str().unwrap();
            for port in [port, port + 1] {
                let mut client = std::net::TcpStream::connect((address, port)).unwrap();
                let mut said = String::new();
                std::io::Read::read_to_string(&mut client, &mut said).unwrap();
                assert_eq!(said, name);
            }
        }
        lab.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_namespaces_programs_run_from_the_image_and_mounts_are_refused_in_words() {
    let lab = Lab::bare();
    lab.run("plain", "echo config=$KUBECONFIG; exec sleep 1000", json!({}));
    lab.until_ready("plain").await;
    let log = wait_for_log(&lab, "plain", "config=").await;
    assert!(log.contains("/kubeconfig"), "{log}");
    let mount = json!({ "volumeMounts": [{ "name": "v", "mountPath": "/etc/settings" }] });
    let mut container = app("true");
    lab::merge(&mut container, mount);
    lab.create("mounted", pod(container, json!({ "volumes": [{ "name": "v", "emptyDir": {} }] })));
    lab.until_event("FailedMount: cannot mount /etc/settings: this machine allows no mount namespaces").await;
    lab.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_says_why() {
    let lab = Lab::start();
    lab.create("wrong", pod(json!({ "name": "app", "image": lab::IMAGE, "command": ["/no/such/program"] }), never()));
    let pod = lab.until_phase("wrong", "Failed").await;
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((ended["reason"].as_str(), ended["exitCode"].as_i64()), (Some("StartError"), Some(128)));
    assert!(ended["message"].as_str().unwrap().contains("stat /no/such/program: no such file or directory"), "{ended}");
    lab.run(
        "unset",
        "true",
        json!({ "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "no", "key": "k" } } }] }),
    );
    lab.until("unset", "waits", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    })
    .await;
    lab.until_event("Failed: Error: secret \"no\" not found").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_pod_that_runs_for_too_long() {
    let lab = Lab::start();
    lab.create("slow", pod(app("sleep 1000"), json!({ "activeDeadlineSeconds": 1 })));
    let pod = lab.until_phase("slow", "Failed").await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
}

/// Runs this file's tests as a user without any rights.
#[test]
fn all_of_this_holds_for_an_ordinary_user() {
    let is_root =
        std::fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line.starts_with("Uid:\t0\t"));
    if !is_root || std::env::var_os("NANOKUBE_TEST_MARKER").is_some() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(home.path(), open).unwrap();
    let tests = std::env::current_exe().unwrap();
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=1000", "--regid=1000", "--clear-groups"])
        .arg(tests)
        .args(["--test-threads=4"])
        .env("TMPDIR", home.path())
        .output();
    match output {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => println!("not tried as an ordinary user: setpriv cannot be run: {error}"),
    }
}
