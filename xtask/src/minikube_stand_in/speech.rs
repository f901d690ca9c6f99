//! How Minikube speaks: plain lines with a prefix, or one CloudEvent a line with `-o json`.
//!
//! Steps and notices go to stdout, warnings and fatal errors to stderr; in JSON everything goes to stdout.

use std::fmt;

use serde_json::{Value, json};

#[derive(Clone)]
pub(crate) struct Speech {
    command: String,
    is_json: bool,
}

/// An error that ends the command, with the reason that Minikube gives it.
#[derive(Clone, Debug)]
pub(crate) struct Fatal {
    pub(crate) exit: u8,
    pub(crate) name: &'static str,
    pub(crate) message: String,
    pub(crate) advice: String,
}

impl Fatal {
    pub(crate) fn new(exit: u8, name: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Fatal {
        Fatal { exit, name, message: message.into(), advice: advice.into() }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl std::error::Error for Fatal {}

/// Names of the steps of `start`, by number.
const STEPS: [&str; 20] = [
    "Initial Minikube Setup",
    "Selecting Driver",
    "Downloading Artifacts",
    "Starting Node",
    "Updating Driver",
    "Pulling Base Image",
    "Running on Localhost",
    "Local OS Release",
    "Creating Container",
    "Creating VM",
    "Running Remotely",
    "Preparing Kubernetes",
    "Generating certificates",
    "Booting control plane",
    "Configuring RBAC rules",
    "Configuring CNI",
    "Configuring Localhost Environment",
    "Verifying Kubernetes",
    "Enabling Addons",
    "Done",
];

impl Speech {
    pub(crate) fn new(command: String, is_json: bool) -> Speech {
        Speech { command, is_json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    pub(crate) fn step(&self, number: usize, message: &str) {
        match (self.is_json, self.command.as_str()) {
            (true, "start") => {
                let total = (STEPS.len() - 1).to_string();
                let data = json!({
                    "currentstep": number.to_string(), "totalsteps": total, "name": STEPS[number], "message": message,
                });
                event("step", data);
            }
            (true, _) => event("step", json!({ "message": message })),
            (false, _) => println!("* {message}"),
        }
    }

    pub(crate) fn info(&self, message: &str) {
        match self.is_json {
            true => event("info", json!({ "message": message })),
            false => println!("  - {message}"),
        }
    }

    /// A notice such as "profile not found": a line of its own, on stdout.
    pub(crate) fn notice(&self, message: &str) {
        match self.is_json {
            true => event("info", json!({ "message": message })),
            false => println!("* {message}"),
        }
    }

    pub(crate) fn warning(&self, message: &str) {
        match self.is_json {
            true => event("warning", json!({ "message": message })),
            false => eprintln!("! {message}"),
        }
    }

    /// Says why the command ends, and with which code.
    pub(crate) fn fatal(&self, fatal: &Fatal) -> u8 {
        let Fatal { exit, name, message, advice } = fatal;
        if self.is_json {
            let data = json!({
                "exitcode": exit.to_string(), "name": name, "message": message, "advice": advice, "url": "",
                "issues": "",
            });
            event("error", data);
        } else {
            println!();
            eprintln!("X Exiting due to {name}: {message}");
            if !advice.is_empty() {
                eprintln!("* Suggestion: {advice}");
            }
            println!();
        }
        *exit
    }
}

fn event(kind: &str, data: Value) {
    // The kernel makes one from its own randomness at each read.
    let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let event = json!({
        "specversion": "1.0",
        "id": id.trim(),
        "source": "https://minikube.sigs.k8s.io/",
        "type": format!("io.k8s.sigs.minikube.{kind}"),
        "datacontenttype": "application/json",
        "data": data,
    });
    println!("{event}");
}
