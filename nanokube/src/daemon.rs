//! The daemon: instance, store, cluster, node, controllers, proxy and API wired together, in this order.
//!
//! It tells whoever started it one line on standard output, when all of it is ready or why it is not; everything else
//! goes to the log. SIGTERM and SIGINT end it in the reverse order, pods first.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::api::{self, Api, auth::Token};
use crate::cli;
use crate::cluster::{Clock, Cluster, Settings};
use crate::controllers::{controller, hpa, runner};
use crate::credentials::Credentials;
use crate::image::ImageStore;
use crate::instance::{self, Directory, Facts, Holding, Network};
use crate::metrics::Metrics;
use crate::node::{Node, NodeConfig};
use crate::openapi::OpenApi;
use crate::proxy::Proxy;
use crate::seed;
use crate::store::Store;

const API_PORT: u16 = 6443;
/// The API and the controllers need no more; pods have the cores.
const WORKER_THREADS: usize = 2;
/// The line that says "ready" to the parent.
pub const READY: &str = "ready";

/// Runs until a signal ends it.
pub fn run(directory: &Directory, start: &cli::Start) -> anyhow::Result<()> {
    let began = Instant::now();
    let listen = start.listen;
    let holding = instance::acquire(directory, |network| {
        listen.is_some() || std::net::TcpListener::bind((network.node(), API_PORT)).is_ok()
    })?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(directory, start, holding, began));
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

/// Each connection is a file: as many as the system lets this user have.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("cannot raise the limit of open files: {error}");
    }
}

async fn serve(directory: &Directory, start: &cli::Start, holding: Holding, began: Instant) -> anyhow::Result<()> {
    let network = holding.network;
    let address = start.listen.unwrap_or_else(|| SocketAddr::from((network.node(), API_PORT)));
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen at {address}: another program may hold the port; choose one with --listen ADDR:PORT")
    })?;
    let address = listener.local_addr().context("the listener has no address")?;
    let credentials = Credentials::load_or_create(directory)?;
    let tls = credentials.acceptor(&addresses(network, address))?;
    let server = format!("https://{address}");
    credentials.write_kubeconfig(directory, &server)?;

    let front_proxy = Some(Arc::new(credentials.front_proxy()?));
    let settings = Settings { service_network: network.services(), front_proxy, ..Settings::default() };
    let store = Store::open(&directory.state()).context("cannot open the store")?;
    let cluster = Cluster::new(store, settings, Clock::System);
    seed::plant(&cluster, network, address)
        .and_then(|()| seed::plant_authentication(&cluster, &credentials))
        .context("cannot create the first objects")?;

    let controllers = runner::start(
        cluster.clone(),
        runner::Config { root_ca: credentials.ca.certificate_pem.clone(), without: parts_left_out(start) },
    )
    .context("cannot start the controllers")?;

    let metrics = Metrics::new(start.metrics_resolution);
    let hpa = start_hpa(&cluster, &metrics, start)?;
    let proxy = Proxy::start(cluster.clone(), network.node());
    let node = start_node(&cluster, &metrics, &credentials, network, directory, start)?;

    let (stop, stopped) = watch::channel(false);
    let api = Arc::new(Api {
        cluster: cluster.clone(),
        metrics: metrics.clone(),
        node: node.clone(),
        openapi: OpenApi::default(),
        token: Token::new(credentials.token.clone()),
        endpoint: address.to_string(),
    });
    let following = tokio::spawn(api::aggregate::follow(cluster.clone()));
    let serving = tokio::spawn(api::server::serve(api, listener, tls, stopped));

    let facts = tell_facts(directory, network, server, &node)?;
    eprintln!("ready in {} ms: {} (node {})", began.elapsed().as_millis(), facts.api_server, facts.node_address);
    announce();

    wait_for_signal().await?;
    eprintln!("stopping");
    // Nobody listening any more is fine: the server has ended already.
    let _ = stop.send(true);
    let _ = serving.await;
    following.abort();
    if let Some(hpa) = hpa {
        hpa.stop();
    }
    controllers.stop();
    node.shutdown().await;
    drop(proxy);
    // The pid file names a process that is about to be gone.
    let _ = std::fs::remove_file(directory.pid());
    eprintln!("stopped");
    drop(holding);
    Ok(())
}

/// Tells other processes about this one, by the files of the instance.
fn tell_facts(directory: &Directory, network: Network, api_server: String, node: &Node) -> anyhow::Result<Facts> {
    let facts = Facts {
        pid: std::process::id(),
        api_server,
        node_address: network.node().to_string(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        kubernetes_version: api::KUBERNETES_VERSION.to_string(),
        limiter: node.limiter().to_string(),
        network: network.0,
    };
    instance::write_private(&directory.pid(), facts.pid.to_string().as_bytes())?;
    directory.write_facts(&facts)?;
    Ok(facts)
}

/// The node with its images; from here on pods run.
fn start_node(
    cluster: &Cluster,
    metrics: &Metrics,
    credentials: &Credentials,
    network: Network,
    directory: &Directory,
    start: &cli::Start,
) -> anyhow::Result<Node> {
    let images = ImageStore::open(&directory.images()).context("cannot open the image store")?;
    let config = NodeConfig {
        address: network.node(),
        pod_addresses: network.pods(),
        instance: network.0.to_string(),
        pods_dir: directory.pods(),
        cpus: start.cpus,
        limiter: start.cpu_limiter,
        kubeconfig: directory.kubeconfig(),
        token: Token::new(credentials.token.clone()),
        program: std::env::current_exe().context("cannot find the program's own file")?,
    };
    Node::start(cluster.clone(), images, metrics.clone(), config).context("cannot start the node")
}

/// The HPA controller, unless it is left out for another one to do its work.
fn start_hpa(cluster: &Cluster, metrics: &Metrics, start: &cli::Start) -> anyhow::Result<Option<hpa::local::Running>> {
    use cli::ControlPlanePart::{Hpa, KubeControllerManager};
    if start.without.iter().any(|part| matches!(part, Hpa | KubeControllerManager)) {
        return Ok(None);
    }
    let flags = hpa::Flags::from(&start.hpa);
    let sources = hpa::local::Sources::of_node(cluster.clone(), metrics.clone());
    let running = hpa::local::start(cluster.clone(), sources, &flags).context("cannot start the HPA controller")?;
    Ok(Some(running))
}

/// The components whose controllers are left out for another program to do their work.
fn parts_left_out(start: &cli::Start) -> Vec<&'static str> {
    let component = |part: &cli::ControlPlanePart| match part {
        cli::ControlPlanePart::Hpa => None,
        cli::ControlPlanePart::KubeControllerManager => Some(controller::CONTROLLER_MANAGER),
        cli::ControlPlanePart::KubeScheduler => Some(controller::SCHEDULER),
    };
    start.without.iter().filter_map(component).collect()
}

fn addresses(network: Network, api: SocketAddr) -> Vec<std::net::Ipv4Addr> {
    let mut addresses = vec![network.node(), network.kubernetes_service(), std::net::Ipv4Addr::LOCALHOST];
    if let std::net::IpAddr::V4(ip) = api.ip()
        && !ip.is_unspecified()
        && !addresses.contains(&ip)
    {
        addresses.push(ip);
    }
    addresses
}

/// Tells the parent; it may have gone, which is its own affair.
fn announce() {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{READY}").and_then(|()| out.flush());
}

/// Returns at SIGTERM or SIGINT.
pub(crate) async fn wait_for_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
