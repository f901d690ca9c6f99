//! Every wording side by side: a change here is a change of the user interface.

use std::path::Path;

use anyhow::{Context, anyhow};
use expect_test::expect;

use super::*;

fn shown(problem: Problem) -> String {
    render(&anyhow!(problem), "default")
}

#[test]
fn the_chain_is_told_once_and_the_remedy_comes_last() {
    let refused = Err::<(), _>(std::io::Error::other("connection refused"));
    let error = refused.context("GET /version").context(no_cluster("https://127.16.0.1:6443")).unwrap_err();
    expect![[r#"
        no cluster answers at https://127.16.0.1:6443: GET /version: connection refused
          try: cargo xtask setup --profile lab"#]]
    .assert_eq(&render(&error, "lab"));
}

#[test]
fn an_error_without_wording_still_ends_with_a_command() {
    expect![[r#"
        something
          try: cargo xtask doctor"#]]
    .assert_eq(&render(&anyhow!("something"), "default"));
}

#[test]
fn a_full_disk_is_mended_by_room_whatever_could_not_be_written() {
    let full = Err::<(), _>(std::io::Error::from_raw_os_error(28)).context(unwritable(Path::new("a"))).unwrap_err();
    expect![[r#"
        cannot write a: No space left on device (os error 28)
          try: cargo xtask runs --keep 5   (or free the disk otherwise: df -h .swell), then run it again"#]]
    .assert_eq(&render(&full, "lab"));
}

#[test]
fn usage_problems_exit_with_64_and_others_with_1() {
    assert_eq!(exit_code(&anyhow!(bad_port("x"))), 64);
    assert_eq!(exit_code(&anyhow!(no_session("default"))), 1);
    assert_eq!(exit_code(&anyhow!("bare")), 1);
}

#[test]
fn wordings_of_setup() {
    let known = vec!["dev".to_owned(), "prod".to_owned()];
    let all = [
        shown(no_session("default")),
        shown(setup_unfinished("lab")),
        shown(session_elsewhere("default", "embedded", "minikube")),
        shown(unknown_environment("qa", &known)),
        shown(unknown_cluster("kind")),
        shown(manifests_broken(Path::new("k8s/overlays/dev"))),
        shown(manifests_lack("Deployment")),
        shown(apply_conflict("Deployment web")),
        shown(pod_does_not_start("web-1", "CrashLoopBackOff", "last exit code 7")),
        shown(waited_too_long("the rollout of web", 180, "0 of 1 pods available")),
        shown(context_not_local("prod-eu", "https://api.example.com")),
        shown(permissions_missing(&["patch deployments.apps".to_owned()], "swell")),
    ];
    expect![[r#"
        profile `default` has no session: nothing is set up
          try: cargo xtask setup
        profile `lab` is only half set up: its setup ended before anything was deployed
          try: cargo xtask setup
        profile `default` is set up on embedded, and minikube was asked for
          try: cargo xtask teardown   (or choose another profile)
        no environment `qa` under k8s/overlays (there: dev, prod)
          try: cargo xtask setup --env dev
        unknown cluster `kind`: it is one of auto, embedded, minikube, context, context=NAME
          try: cargo xtask setup --cluster embedded
        the manifests in k8s/overlays/dev cannot be rendered
          try: kubectl kustomize k8s/overlays/dev   (or mend the field named above)
        the manifests hold no Deployment: the lab needs a Deployment, a Service and a HorizontalPodAutoscaler
          try: ls k8s/base
        Deployment web exists and belongs to someone else (it does not carry the lab's label)
          try: cargo xtask setup --env dev --profile other   (or remove the object yourself)
        pod web-1 does not start: CrashLoopBackOff: last exit code 7
          try: cargo xtask status
        waited 180 s for the rollout of web; last seen: 0 of 1 pods available
          try: cargo xtask status
        context `prod-eu` at https://api.example.com does not look like a cluster on this machine
          try: cargo xtask setup --cluster context=prod-eu --yes   (if you mean it)
        this user may not, in namespace swell: patch deployments.apps
          try: kubectl auth can-i --list -n swell   (then ask whoever runs the cluster for them)"#]]
    .assert_eq(&all.join("\n"));
}

#[test]
fn wordings_of_load_and_forward() {
    let known = vec!["demo".to_owned(), "spike".to_owned()];
    let all = [
        shown(no_scenario("dmeo", &known)),
        shown(scenario_broken(Path::new("scenarios/x.yaml"))),
        shown(service_unreachable("http://127.16.0.1:30080")),
        shown(loadgen_failed(Some(1), "cannot dial")),
        shown(no_such_run("x")),
        shown(port_occupied("127.0.0.1:8080", "nginx (pid 7)")),
        shown(bad_port("http")),
        shown(no_ready_pod("swell")),
        shown(processes_left(&[12, 15])),
    ];
    expect![[r#"
        no scenario `dmeo` (there: demo, spike)
          try: cargo xtask load demo
        the scenario scenarios/x.yaml is not valid
          try: compare it with scenarios/demo.yaml, then: cargo xtask load scenarios/x.yaml
        nothing answers at http://127.16.0.1:30080
          try: cargo xtask status   (or give --url)
        loadgen could not run the load (exit code 1): cannot dial
          try: cargo xtask doctor
        no run `x`
          try: cargo xtask runs
        127.0.0.1:8080 is in use by nginx (pid 7)
          try: cargo xtask forward --port 0   (takes a free one)
        `http` is not a port (0 to 65535)
          try: cargo xtask forward --port 8080
        no ready pod of the service in namespace swell
          try: cargo xtask status
        processes of the lab outlived the teardown: 12 15
          try: kill 12 15"#]]
    .assert_eq(&all.join("\n"));
}

#[test]
fn wordings_of_explain() {
    let file = Path::new("hpa.yaml");
    let negative = FieldError {
        kind: autoscaler::field::FieldErrorKind::Invalid,
        field: "spec.minReplicas".to_owned(),
        value: "-1".to_owned(),
        detail: "must be greater than or equal to 1".to_owned(),
    };
    let all = [
        shown(not_an_autoscaler(file)),
        shown(refused_autoscaler(file, &[negative.clone(), negative])),
        shown(bad_quantity("--usage", "lots")),
        shown(no_such_metric("--usage", "memory", &["cpu"], file)),
        shown(more_pods_than_replicas(4, 3)),
        shown(no_such_autoscaler("shop", "wbe", &["api", "web"])),
    ];
    expect![[r#"
        hpa.yaml holds no readable HorizontalPodAutoscaler
          try: cargo xtask explain -f k8s/base/horizontal-pod-autoscaler.yaml --usage 180m --replicas 3
        an API server would refuse the HorizontalPodAutoscaler of hpa.yaml: spec.minReplicas: Invalid value: -1: must be greater than or equal to 1; spec.minReplicas: Invalid value: -1: must be greater than or equal to 1
          try: edit it, then: cargo xtask explain -f hpa.yaml
        --usage lots: not a quantity such as 180m, 0.5 or memory=64Mi
          try: cargo xtask explain --help
        --usage memory: no metric of hpa.yaml is of that; what --usage can name there: cpu
          try: cargo xtask explain --help
        4 pods are starting, pending or unmeasured, of 3 in all
          try: cargo xtask explain -f FILE --replicas 4   (or more)
        no HorizontalPodAutoscaler `wbe` in namespace shop; there are: api, web
          try: cargo xtask explain --hpa NAMESPACE/NAME"#]]
    .assert_eq(&all.join("\n"));
}

#[test]
fn wordings_of_minikube() {
    let all = [
        shown(tool_missing("minikube", "see https://minikube.sigs.k8s.io/docs/start/")),
        shown(minikube_start(
            "PROVIDER_DOCKER_NOT_RUNNING",
            "Cannot connect",
            "Start Docker",
            "sudo systemctl start docker",
        )),
        shown(image_not_loaded("localhost/a:1", "minikube", "no space left on device", "minikube image load a.tar")),
        shown(metrics_addon_absent("swell-default")),
    ];
    expect![[r#"
        `minikube` is not installed, or not on PATH
          try: see https://minikube.sigs.k8s.io/docs/start/
        minikube start ended with PROVIDER_DOCKER_NOT_RUNNING: Cannot connect; Minikube advises: Start Docker
          try: sudo systemctl start docker
        minikube says that it loaded the image, but does not list localhost/a:1 (no space left on device)
          try: minikube image load a.tar
        the cluster has no metrics API (APIService v1beta1.metrics.k8s.io is missing)
          try: minikube addons enable metrics-server -p swell-default"#]]
    .assert_eq(&all.join("\n"));
}
