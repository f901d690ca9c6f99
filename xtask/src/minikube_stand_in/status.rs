//! `status`: an object for one node, an array for several, no newline at the end; the exit code is a bit mask.

use anyhow::Result;
use serde_json::{Value, json};

use crate::speech::Fatal;
use crate::{Call, EXIT_USAGE, backend};

const HOST: u8 = 1;
const KUBERNETES: u8 = 2;
const KUBECONFIG: u8 = 4;

pub(crate) fn run(call: &Call) -> Result<u8> {
    let name = call.given.profile();
    if call.given.value("format").is_some() && call.speech.is_json() {
        let message = "Cannot use both --output and --format options";
        return Err(Fatal::new(EXIT_USAGE, "MK_USAGE", message, "").into());
    }
    let Some(profile) = call.home.find(name) else {
        call.speech.notice(&format!("Profile {name:?} not found. Run \"minikube profile list\" to view all profiles."));
        call.speech.notice(&format!("To start a cluster, run: \"minikube start -p {name}\""));
        return Ok(85);
    };
    if call.scenario.has("status-null") {
        print!("null");
        eprintln!("E0223 12:00:00.000000   123 status.go:258] status error: host: state: unknown state {name:?}");
        return Ok(HOST | KUBERNETES | KUBECONFIG);
    }
    if call.scenario.has("docker-down") {
        let message = "status error: host: state: docker container inspect: Cannot connect to the Docker daemon";
        return Err(Fatal::new(80, "GUEST_STATUS", message, "").into());
    }
    let natural = match profile.is_running {
        false => HOST | KUBERNETES | KUBECONFIG,
        true if profile.is_paused => KUBERNETES,
        true if backend::is_stale(call, name)? => KUBECONFIG,
        true => 0,
    };
    let mask = call.scenario.status().unwrap_or(natural);
    let mut nodes: Vec<Value> = (1..=profile.nodes.max(1)).map(|number| node(name, number, mask)).collect();
    if profile.is_paused {
        nodes[0]["APIServer"] = json!("Paused");
    }
    let value = if nodes.len() == 1 { nodes[0].clone() } else { Value::Array(nodes) };
    match call.speech.is_json() {
        true => print!("{value}"),
        false => println!("{}", text(&value)),
    }
    Ok(mask)
}

fn node(profile: &str, number: u64, mask: u8) -> Value {
    let is_off = |bit| mask & bit != 0;
    let word = |bit, on: &str, off: &str| if is_off(bit) { off.to_owned() } else { on.to_owned() };
    let (host, kubelet) = (word(HOST, "Running", "Stopped"), word(KUBERNETES, "Running", "Stopped"));
    if number > 1 {
        return json!({
            "Name": format!("{profile}-m{number:02}"), "Host": host, "Kubelet": kubelet, "APIServer": "Irrelevant",
            "Kubeconfig": "Irrelevant", "Worker": true,
        });
    }
    let off = if is_off(HOST) { "Stopped" } else { "Misconfigured" };
    json!({
        "Name": profile, "Host": host, "Kubelet": kubelet, "APIServer": word(KUBERNETES, "Running", "Stopped"),
        "Kubeconfig": word(KUBECONFIG, "Configured", off), "Worker": false,
    })
}

fn text(value: &Value) -> String {
    let nodes = match value {
        Value::Array(nodes) => nodes.clone(),
        node => vec![node.clone()],
    };
    let word = |node: &Value, field: &str| node[field].as_str().unwrap_or_default().to_owned();
    let block = |node: &Value| {
        format!(
            "{}\ntype: {}\nhost: {}\nkubelet: {}\napiserver: {}\nkubeconfig: {}\n",
            word(node, "Name"),
            if node["Worker"] == true { "Worker" } else { "Control Plane" },
            word(node, "Host"),
            word(node, "Kubelet"),
            word(node, "APIServer"),
            word(node, "Kubeconfig"),
        )
    };
    nodes.iter().map(block).collect::<Vec<_>>().join("\n")
}
