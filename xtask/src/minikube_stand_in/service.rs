//! `service NAME --url` and `service list`: what a NodePort is reached under.
//!
//! Where the node's address cannot be reached (`no-urls`: Docker Desktop and its like), the list has no URLs, and
//! `--url` prints the end of a tunnel that lives as long as the command.

use std::io::Write;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Service};
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::Call;
use crate::backend::kubeconfig_path;
use crate::speech::Fatal;

pub(crate) fn has_cluster() -> bool {
    std::env::var_os("MINIKUBE_STAND_IN_NANOKUBE").is_none_or(|value| value != "none")
}

/// Runs `action` with a client for the profile's context.
pub(crate) fn with_client<T>(profile: &str, action: impl AsyncFnOnce(Client) -> Result<T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(kubeconfig_path()?)?;
        let options = KubeConfigOptions { context: Some(profile.to_owned()), ..KubeConfigOptions::default() };
        action(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &options).await?)?).await
    })
}

pub(crate) fn node_address(profile: &str) -> Result<String> {
    if !has_cluster() {
        return Ok("192.168.49.2".to_owned());
    }
    with_client(profile, async |client| address(&client).await)
}

async fn address(client: &Client) -> Result<String> {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?;
    let addresses = nodes.items.into_iter().filter_map(|node| node.status?.addresses).flatten();
    let internal = addresses.into_iter().find(|address| address.type_ == "InternalIP");
    Ok(internal.context("the node has no InternalIP")?.address)
}

pub(crate) fn list(call: &Call) -> Result<u8> {
    let name = call.given.profile();
    call.home.require_running(name)?;
    if call.scenario.has("service-list-fails") {
        return Err(Fatal::new(119, "SVC_URL_TIMEOUT", "Failed to list services: context deadline exceeded", "").into());
    }
    if !has_cluster() {
        println!("[]");
        return Ok(0);
    }
    let namespace = call.given.value("namespace").unwrap_or_default();
    let entries = with_client(name, async |client| {
        let node = address(&client).await?;
        let services = match namespace {
            "" => Api::<Service>::all(client),
            namespace => Api::<Service>::namespaced(client, namespace),
        };
        let listed = services.list(&ListParams::default()).await?;
        Ok(listed.items.iter().map(|service| entry(call, service, &node)).collect::<Vec<_>>())
    })?;
    match call.speech.is_json() {
        true => println!("{}", Value::Array(entries)),
        false => entries.iter().for_each(|entry| println!("| {} | {} |", entry["Namespace"], entry["Name"])),
    }
    Ok(0)
}

fn entry(call: &Call, service: &Service, node: &str) -> Value {
    let ports = node_ports(service);
    let names: Vec<String> = ports.iter().map(|(name, port, _)| format!("{name}/{port}")).collect();
    let urls: Vec<String> = ports.iter().map(|(_, _, node_port)| format!("http://{node}:{node_port}")).collect();
    let reachable = !call.scenario.has("no-urls");
    json!({
        "Namespace": service.metadata.namespace,
        "Name": service.metadata.name,
        "URLs": if reachable { urls } else { Vec::new() },
        "PortNames": if names.is_empty() { vec!["No node port".to_owned()] } else { names },
    })
}

/// Name, port and node port of each port that has one.
fn node_ports(service: &Service) -> Vec<(String, i32, i32)> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    ports.filter_map(|port| Some((port.name.clone().unwrap_or_default(), port.port, port.node_port?))).collect()
}

pub(crate) fn url(call: &Call) -> Result<u8> {
    let name = call.given.profile();
    call.home.require_running(name)?;
    let wanted = call.given.args.first().map(String::as_str).unwrap_or_default();
    let namespace = call.given.value("namespace").unwrap_or("default");
    let message = format!("Service '{wanted}' was not found in '{namespace}' namespace.");
    let advice = "You may select another namespace by using 'minikube service <service> -n <namespace>'";
    let not_found = Fatal::new(115, "SVC_NOT_FOUND", message, advice);
    if !has_cluster() {
        return Err(not_found.into());
    }
    with_client(name, async |client| {
        let node = address(&client).await?;
        let services = Api::<Service>::namespaced(client, namespace);
        let service = services.get_opt(wanted).await?.ok_or(not_found)?;
        let ports = node_ports(&service);
        if ports.is_empty() {
            println!("* service {namespace}/{wanted} has no node port");
            return Ok(0);
        }
        if !call.scenario.has("no-urls") {
            ports.iter().for_each(|(_, _, port)| println!("http://{node}:{port}"));
            return Ok(0);
        }
        tunnel(&format!("{node}:{}", ports[0].2)).await
    })
}

/// Until Ctrl-C or SIGTERM.
async fn tunnel(to: &str) -> Result<u8> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    eprintln!("! Because you are using a Docker driver on darwin, the terminal needs to be open to run it.");
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut near, to) = (accepted?.0, to.to_owned());
                tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(to).await {
                        // Either side may go away at any time; that ends the connection and nothing else.
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
            _ = interrupt.recv() => return Ok(0),
            _ = terminate.recv() => return Ok(0),
        }
    }
}
