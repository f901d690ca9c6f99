//! Any cluster of a kubeconfig: a nanokube that was started apart and is reached by nothing else, an API that refuses, and
//! a registry that takes what is pushed.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A profile, torn down whatever happens, with a kubeconfig for its only way to a cluster.
struct Lab {
    profile: String,
    kubeconfig: PathBuf,
}

impl Lab {
    fn new(name: &str, kubeconfig: &Path) -> Lab {
        Lab { profile: format!("{name}-{}", std::process::id()), kubeconfig: kubeconfig.to_owned() }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(args)
            .args(["--profile", &self.profile])
            .current_dir(root())
            .env("KUBECONFIG", &self.kubeconfig)
            // Nobody's logins; and where the user has no runtime directory, skopeo looks for them in one of root's.
            .env("REGISTRY_AUTH_FILE", "/none/auth.json")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?} ended with {}\n{}", output.status, told(&output));
        told(&output)
    }

    #[track_caller]
    fn fail(&self, args: &[&str], code: i32, words: &[&str]) {
        let output = self.run(args);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{told}");
        for word in words {
            assert!(told.contains(word), "{args:?}: {word} is not said\n{told}");
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.run(&["teardown", "--quiet"]);
    }
}

fn told(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A cluster that no profile knows of.
struct Apart {
    dir: tempfile::TempDir,
}

impl Apart {
    fn start() -> Apart {
        let apart = Apart { dir: tempfile::tempdir().unwrap() };
        apart.nanokube(&["start", "--hpa-sync-period=2s", "--metrics-resolution=2s"]);
        apart
    }

    #[track_caller]
    fn nanokube(&self, args: &[&str]) -> String {
        let binary = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("nanokube");
        let output =
            Command::new(binary).arg("--dir").arg(self.dir.path().join("cluster")).args(args).output().unwrap();
        assert!(output.status.success(), "nanokube {args:?}\n{}", told(&output));
        told(&output)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("cluster/kubeconfig")
    }

    fn context(&self) -> String {
        let text = std::fs::read_to_string(self.kubeconfig()).unwrap();
        text.lines().find_map(|line| line.strip_prefix("current-context: ")).unwrap().to_owned()
    }

    /// What kubectl prints; nothing where it is not installed.
    fn kubectl(&self, args: &[&str]) -> Option<String> {
        let output = Command::new("kubectl").arg("--kubeconfig").arg(self.kubeconfig()).args(args).output().ok()?;
        assert!(output.status.success(), "kubectl {args:?}\n{}", told(&output));
        Some(told(&output))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let binary = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("nanokube");
        let _ = Command::new(binary).arg("--dir").arg(self.dir.path().join("cluster")).arg("delete").output();
    }
}

fn archive(images: &Path) -> PathBuf {
    let mut found = std::fs::read_dir(images).unwrap().flatten().map(|entry| entry.path());
    found.find(|path| path.to_string_lossy().contains("swell-service")).unwrap()
}

#[test]
fn a_cluster_known_by_its_kubeconfig_alone_is_used_and_left_as_it_was() {
    // Builds what the cluster apart is started from, too.
    let images = tempfile::tempdir().unwrap();
    let packer = Lab::new("ctx-pack", Path::new("/none"));
    packer.succeed(&["image", "--dynamic", "--output", images.path().to_str().unwrap()]);
    let apart = Apart::start();
    let archive = archive(images.path());
    apart.nanokube(&["image", "load", archive.to_str().unwrap()]);
    let tag = archive.file_stem().unwrap().to_string_lossy().replace("swell-service-", "localhost/swell-service:");
    let ours = ["-n", "elsewhere", "create", "configmap", "ours-by-label"];
    let foreign = ["-n", "swell-dev", "create", "configmap", "foreign"];
    for args in [&["create", "namespace", "elsewhere"][..], &["create", "namespace", "swell-dev"], &ours, &foreign] {
        apart.kubectl(args);
    }
    apart.kubectl(&["-n", "elsewhere", "label", "configmap", "ours-by-label", "app.kubernetes.io/managed-by=swell"]);

    // Of several kubeconfigs the one that has the context.
    let both = std::env::join_paths([Path::new("/none/first"), &apart.kubeconfig()]).unwrap();
    let lab = Lab::new("ctx", Path::new(&both));
    lab.fail(&["setup", "--cluster", "context=nope"], 64, &["no context `nope`", "there: nanokube-"]);
    lab.fail(&["setup", "--cluster", "context"], 64, &["pulls its images", "--push REGISTRY/PATH"]);
    lab.fail(
        &["setup", "--cluster", "context", "--image", archive.to_str().unwrap()],
        64,
        &["cannot pull", "--push REGISTRY/PATH", "skopeo copy docker-archive:"],
    );
    lab.succeed(&["setup", "--cluster", "context", "--image", &tag]);
    let again = lab.succeed(&["setup"]);
    assert!(!again.contains("  done "), "a second setup acted:\n{again}");
    let load = lab.run(&["load", "--pattern", "constant 10 3s"]);
    assert!(matches!(load.status.code(), Some(0 | 3)), "{}", told(&load));
    assert!(told(&load).contains("lost 0"), "{}", told(&load));
    lab.fail(&["load", "--in-cluster", "--pattern", "constant 10 3s"], 64, &["--generator-image REGISTRY"]);
    // Whoever asks why needs no session.
    let passer_by = Lab::new("ctx-look", &apart.kubeconfig());
    let asked =
        |hpa: &'static str| ["explain".to_owned(), "--context".to_owned(), apart.context(), format!("--hpa={hpa}")];
    let told = passer_by.succeed(&asked("swell-dev/swell-service").each_ref().map(String::as_str));
    assert!(told.contains("(min 1, max ") && told.contains("ScalingActive "), "{told}");
    let misspelt = asked("swell-dev/swell");
    passer_by.fail(&misspelt.each_ref().map(String::as_str), 64, &["`swell`", "there are: swell-service"]);
    lab.succeed(&["teardown"]);
    lab.succeed(&["teardown"]);

    assert!(apart.nanokube(&["status"]).contains("running"), "somebody else's cluster was stopped");
    if let Some(left) = apart.kubectl(&["get", "deployments,services,hpa,configmaps", "-A", "-o", "name"]) {
        assert!(left.contains("configmap/foreign") && left.contains("configmap/ours-by-label"), "{left}");
        assert!(!left.contains("swell-service"), "{left}");
        assert!(apart.kubectl(&["get", "namespace", "swell-dev"]).is_some(), "a namespace that was there is gone");
    }
}

#[test]
fn a_cluster_that_may_be_somebody_elses_is_asked_for_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig("https://203.0.113.9:6443")).unwrap();
    let lab = Lab::new("ctx-far", &path);
    let words = ["context `there` at https://203.0.113.9:6443 does not look like", "--cluster context=there --yes"];
    lab.fail(&["setup", "--cluster", "context", "--image", "r/x:1"], 1, &words);
}

#[test]
fn what_this_user_may_not_do_is_said_before_anything_is_done() {
    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = asked.clone();
    let address = serve(move |method, path, body| {
        seen.lock().unwrap().insert(format!("{method} {path}"));
        if path == "/version" {
            let version = json!({"major": "1", "minor": "36", "gitVersion": "v1.36.2", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
            return (StatusCode::OK, version.to_string());
        }
        let mut review: Value = serde_json::from_slice(body).unwrap();
        let about = review["spec"]["resourceAttributes"].clone();
        let refused = about["resource"] == "deployments" && about["verb"] != "get"
            || about["subresource"] == "portforward"
            || about["resource"] == "networkpolicies" && about["verb"] == "create";
        review["status"] = json!({"allowed": !refused});
        (StatusCode::CREATED, review.to_string())
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig(&format!("http://{address}"))).unwrap();
    let lab = Lab::new("ctx-may", &path);
    let words = [
        "may not, in namespace swell-dev: get, create pods/portforward; list, watch, create, patch, delete deployments.apps; \
         create networkpolicies.networking.k8s.io",
        "try: kubectl auth can-i --list -n swell-dev",
    ];
    lab.fail(&["setup", "--cluster", "context", "--image", "r/x:1"], 1, &words);
    let reviews = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(*asked.lock().unwrap(), BTreeSet::from(["GET /version".to_owned(), reviews.to_owned()]));
}

#[test]
fn images_are_pushed_to_a_registry_with_what_is_installed() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        return eprintln!("skopeo is not installed: pushing is not tried");
    }
    let taken = Arc::new(Mutex::new(BTreeSet::new()));
    let registry = taken.clone();
    let address = serve(move |method, path, body| registry_answer(&registry, method, path, body));
    let images = tempfile::tempdir().unwrap();
    let lab = Lab::new("ctx-push", Path::new("/none"));
    let to = format!("{address}/lab");
    let said = lab.succeed(&["image", "--dynamic", "--output", images.path().to_str().unwrap(), "--push", &to]);
    let file = archive(images.path()).file_stem().unwrap().to_string_lossy().into_owned();
    let tag = file.strip_prefix("swell-service-").unwrap();
    assert!(said.contains(&format!("{address}/lab/swell-service:{tag} with skopeo")), "{said}");
    let taken = taken.lock().unwrap();
    assert!(taken.contains(&format!("/v2/lab/swell-service/manifests/{tag}")), "{taken:?}");
    assert!(taken.iter().any(|path| path.starts_with("/v2/lab/swell-loadgen/manifests/")), "{taken:?}");
    lab.fail(
        &["image", "--dynamic", "--push", "127.0.0.1:1/lab"],
        1,
        &["pushing 127.0.0.1:1/lab/swell-service", "try: skopeo"],
    );
}

/// As much of a registry as a push meets: nothing is there, everything is taken.
fn registry_answer(taken: &Mutex<BTreeSet<String>>, method: &Method, path: &str, _body: &[u8]) -> (StatusCode, String) {
    let is_upload = path.contains("/blobs/uploads");
    match *method {
        Method::GET if path == "/v2/" => (StatusCode::OK, String::new()),
        Method::POST | Method::PATCH if is_upload => (StatusCode::ACCEPTED, String::new()),
        Method::PUT => {
            taken.lock().unwrap().insert(path.to_owned());
            (StatusCode::CREATED, String::new())
        }
        _ => (StatusCode::NOT_FOUND, String::new()),
    }
}

fn kubeconfig(server: &str) -> String {
    let name = json!({"name": "there", "cluster": {"server": server}});
    json!({"apiVersion": "v1", "kind": "Config", "current-context": "there", "clusters": [name],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "me"}}]})
    .to_string()
}

/// An HTTP server of one function, on a port of its own, for as long as the test runs.
fn serve(answer: impl Fn(&Method, &str, &[u8]) -> (StatusCode, String) + Send + Sync + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    listener.set_nonblocking(true).unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let answer = answer.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let (status, text) = answer(&head.method, head.uri.path(), &body);
                        let response = Response::builder()
                            .status(status)
                            .header("location", format!("{}?state=1", head.uri.path().trim_end_matches('/')))
                            .header("content-type", "application/json")
                            .body(Full::new(Bytes::from(text)));
                        Ok::<_, hyper::Error>(response.unwrap())
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
    });
    address
}
