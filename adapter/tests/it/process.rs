//! The adapter's process, and a client that trusts the certificate that it was given.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::stand_in::Cluster;

pub(crate) struct Adapter {
    child: Child,
    address: SocketAddr,
    trust: Arc<ClientConfig>,
    _files: tempfile::TempDir,
}

impl Adapter {
    pub(crate) fn start(cluster: &Cluster) -> Adapter {
        let files = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let kubeconfig = files.path().join("kubeconfig");
        std::fs::write(&kubeconfig, cluster.kubeconfig()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_adapter"))
            .env("KUBECONFIG", kubeconfig)
            .envs([("PORT", "0"), ("POD_IP", "127.0.0.1"), ("SCRAPE_INTERVAL_MS", "200"), ("SCRAPE_TIMEOUT_MS", "300")])
            .env("LINGER_MS", "1500")
            .env("TLS_CERT_FILE", certificate)
            .env("TLS_KEY_FILE", key)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let listening = lines.find(|line| line.contains("listening")).expect("it listens");
        // Whoever stops reading must not stop the adapter.
        std::thread::spawn(move || lines.for_each(drop));
        let listening: Value = serde_json::from_str(&listening).unwrap();
        let address = listening["address"].as_str().unwrap().parse().unwrap();
        Adapter { child, address, trust: trust(made.cert.der().clone()), _files: files }
    }

    /// Status and body, null where it is no JSON.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        let server = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(self.trust.clone(), server).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(self.address).unwrap());
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        // Servers may close without saying so; the length of the body is known.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, serde_json::from_str(body).unwrap_or_default())
    }

    pub(crate) fn terminate(&self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
    }

    pub(crate) fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        // It has ended already where a test asked it to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn trust(certificate: CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
