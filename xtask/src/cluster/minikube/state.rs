//! How a Minikube profile is, and the command that mends it: from `status`, whose exit code is a bit mask, and whose output
//! is an object, an array, `null`, or nothing at all.
//!
//! What Minikube itself refuses ends with a code whose decade names the layer; one table here turns codes into remedies.

use anyhow::Result;
use serde_json::Value;
use xshell::Shell;

use super::super::Mend;
use super::Minikube;
use super::said::said;
use crate::problem::{self, Problem};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// No profile of that name.
    Absent,
    /// The profile is known, its container or virtual machine is not there.
    Gone,
    Stopped,
    Paused,
    /// The kubeconfig points to where the cluster was before it was restarted.
    Stale,
    DiskFull,
    /// Anything between: some of it runs.
    Half(String),
    /// `status` itself failed, with Minikube's own words.
    Unknown {
        code: i32,
        said: String,
    },
}

impl State {
    fn parse(code: i32, stdout: &str, stderr: &str) -> State {
        if code == 85 {
            return State::Absent;
        }
        if !(0..=7).contains(&code) {
            return State::Unknown { code, said: said(stdout, stderr).in_words() };
        }
        let told: Value = serde_json::from_str(stdout.trim()).unwrap_or_default();
        let nodes: Vec<&Value> = told.as_array().map_or_else(|| vec![&told], |nodes| nodes.iter().collect());
        let any = |word: &str| {
            let fields = ["Host", "Kubelet", "APIServer", "Kubeconfig"];
            nodes.iter().any(|node| fields.iter().any(|field| node[field] == word))
        };
        match code {
            _ if any("InsufficientStorage") => State::DiskFull,
            0 => State::Running,
            4 => State::Stale,
            7 if told.is_null() => State::Gone,
            _ if any("Paused") => State::Paused,
            _ if nodes.iter().all(|node| node["Host"] == "Stopped") => State::Stopped,
            _ => State::Half(bits(code)),
        }
    }

    pub(super) fn words(&self) -> String {
        match self {
            State::Running => "running".to_owned(),
            State::Absent => "there is no such profile".to_owned(),
            State::Gone => "its container or virtual machine is gone".to_owned(),
            State::Stopped => "it is stopped".to_owned(),
            State::Paused => "it is paused".to_owned(),
            State::Stale => "the kubeconfig points to where it was before its restart".to_owned(),
            State::DiskFull => "the disk of its node is full".to_owned(),
            State::Half(words) => words.clone(),
            State::Unknown { code, said } => format!("minikube status ended with exit code {code}: {said}"),
        }
    }

    /// What is wrong, with the command that mends it; nothing where it runs.
    pub(super) fn problem(&self, profile: &str) -> Option<Problem> {
        let remedy = match self {
            State::Running => return None,
            State::Absent => "cargo xtask setup".to_owned(),
            State::Gone => "cargo xtask setup   (makes it again)".to_owned(),
            State::Stopped | State::Half(_) => "cargo xtask setup   (starts it again)".to_owned(),
            State::Paused => format!("minikube unpause -p {profile}"),
            State::Stale => format!("minikube update-context -p {profile}"),
            State::DiskFull => disk_remedy(profile),
            State::Unknown { code, said } => remedy(*code, said, profile),
        };
        Some(problem::minikube_state(profile, &self.words(), &remedy))
    }
}

impl State {
    /// The same after a start that ended well: starting again is then no remedy.
    pub(super) fn problem_after_start(&self, profile: &str) -> Option<Problem> {
        match self {
            State::Stopped | State::Half(_) | State::Gone | State::Absent => {
                let remedy = format!("minikube logs -p {profile} --problems");
                Some(problem::minikube_state(profile, &format!("after its start {}", self.words()), &remedy))
            }
            _ => self.problem(profile),
        }
    }
}

impl Minikube {
    pub(super) fn state(&self) -> Result<State> {
        let shell = Shell::new()?;
        let output = self.command(&shell).args(["status", "-o", "json"]).ignore_status().output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(State::parse(output.status.code().unwrap_or(-1), &text(&output.stdout), &text(&output.stderr)))
    }

    /// Why the cluster does not answer, as far as Minikube knows.
    pub(in crate::cluster) fn trouble(&self) -> Option<Problem> {
        self.mendable_trouble().map(|(problem, _)| problem)
    }

    pub(in crate::cluster) fn mendable_trouble(&self) -> Option<(Problem, Option<Mend>)> {
        let state = self.state().ok()?;
        let mend = match state {
            State::Stopped | State::Half(_) => Some(Mend::Start),
            State::Paused => Some(Mend::Unpause),
            State::Stale => Some(Mend::UpdateContext),
            // To make anew what is gone, or to empty a disk, is for people to decide.
            State::Running | State::Absent | State::Gone | State::DiskFull | State::Unknown { .. } => None,
        };
        Some((state.problem(&self.profile)?, mend))
    }
}

/// The command that mends it, by the layer that the exit code names, and where one code has many reasons by the reason.
pub(super) fn remedy(code: i32, reason: &str, profile: &str) -> String {
    let reasons = [
        ("Docker daemon", "sudo systemctl start docker".to_owned()),
        ("MK_ADDON_ENABLE_PAUSED", format!("minikube unpause -p {profile}")),
        ("MK_ADDON_ENABLE", format!("minikube addons enable metrics-server -p {profile} --alsologtostderr")),
        ("no space left", disk_remedy(profile)),
        ("does not exist", "cargo xtask setup".to_owned()),
    ];
    if let Some((_, remedy)) = reasons.into_iter().find(|(word, _)| reason.contains(word)) {
        return remedy;
    }
    match code {
        23 => "cargo xtask setup --cluster minikube --memory 4g   (1800 MiB are the least)",
        10 | 14 if reason.to_lowercase().contains("mem") => {
            "cargo xtask setup --cluster minikube --memory 1900m   (or give Docker or the machine more)"
        }
        26 => "docker system prune   (the disk is full)",
        29 => "cargo xtask setup --cluster minikube --cpus 2   (or give the virtual machine more)",
        38 => "cargo xtask setup --cluster minikube --driver docker   (or enable virtualisation in the firmware)",
        55 | 65 => {
            "cargo xtask setup --cluster embedded   (which needs none; or install one: https://docs.docker.com/engine/install/)"
        }
        56 => "cargo xtask setup --cluster minikube --driver docker",
        57 => "cargo xtask setup --cluster embedded   (or run this as an ordinary user: the docker driver refuses root)",
        63 => "sudo systemctl start docker",
        69 => "sudo usermod -aG docker $USER   (then log in again)",
        // 4x is the internet: nothing is wrong here that Minikube could tell.
        40..=49 => "cargo xtask setup   (once the internet is reached; behind a proxy, with HTTPS_PROXY and NO_PROXY set)",
        60..=68 => "cargo xtask doctor   (which says what the driver answers; or: cargo xtask setup --cluster embedded)",
        81 => return format!("minikube delete -p {profile}   (or set up with the driver that it has)"),
        82 | 90..=99 => "cargo xtask teardown   (then set up again: its node does not come round)",
        106 => "cargo xtask teardown   (then set up again: a cluster keeps the Kubernetes that it was made with)",
        80 => return format!("minikube logs -p {profile} --problems   (what cannot be saved: minikube delete -p {profile})"),
        83 | 85 | 103 => "cargo xtask setup   (starts it again)",
        _ => return format!("minikube logs -p {profile} --problems"),
    }
    .to_owned()
}

pub(super) fn disk_remedy(profile: &str) -> String {
    format!("minikube ssh -p {profile} -- sudo crictl rmi --prune   (removes unused images from its node)")
}

fn bits(code: i32) -> String {
    let bits = [(1, "host not running"), (2, "Kubernetes not running"), (4, "kubeconfig not up to date")];
    let words: Vec<&str> = bits.iter().filter(|(bit, _)| code & bit != 0).map(|(_, words)| *words).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exit code and stdout as the contract has them, and what is made of it.
    #[test]
    fn every_status_is_put_in_words_that_end_with_the_command_that_mends_it() {
        let one = |host: &str, kubelet: &str, api: &str, kubeconfig: &str| {
            format!(r#"{{"Host":"{host}","Kubelet":"{kubelet}","APIServer":"{api}","Kubeconfig":"{kubeconfig}"}}"#)
        };
        let worker = one("Stopped", "Stopped", "Irrelevant", "Irrelevant");
        let two = format!("[{},{worker}]", one("Running", "Running", "Running", "Configured"));
        let event =
            r#"{"data":{"exitcode":"80","name":"GUEST_STATUS","message":"Cannot connect to the Docker daemon"}}"#;
        let cases = [
            (0, one("Running", "Running", "Running", "Configured")),
            (1, two),
            (2, one("Running", "Stopped", "Paused", "Configured")),
            (2, one("Running", "Running", "Stopped", "Configured")),
            (4, one("Running", "Running", "Running", "Misconfigured")),
            (7, one("Stopped", "Stopped", "Stopped", "Stopped")),
            (7, "null".to_owned()),
            (3, one("InsufficientStorage", "Stopped", "Stopped", "Configured")),
            (85, String::new()),
            (80, event.to_owned()),
            (14, String::new()),
        ];
        let mut all = String::new();
        for (code, stdout) in cases {
            let words = match State::parse(code, &stdout, "").problem("p") {
                Some(problem) => problem::render(&problem.into(), "default"),
                None => "runs".to_owned(),
            };
            all.push_str(&format!("{code} {words}\n"));
        }
        expect_test::expect![[r#"
            0 runs
            1 Minikube profile `p`: host not running
              try: cargo xtask setup   (starts it again)
            2 Minikube profile `p`: it is paused
              try: minikube unpause -p p
            2 Minikube profile `p`: Kubernetes not running
              try: cargo xtask setup   (starts it again)
            4 Minikube profile `p`: the kubeconfig points to where it was before its restart
              try: minikube update-context -p p
            7 Minikube profile `p`: it is stopped
              try: cargo xtask setup   (starts it again)
            7 Minikube profile `p`: its container or virtual machine is gone
              try: cargo xtask setup   (makes it again)
            3 Minikube profile `p`: the disk of its node is full
              try: minikube ssh -p p -- sudo crictl rmi --prune   (removes unused images from its node)
            85 Minikube profile `p`: there is no such profile
              try: cargo xtask setup
            80 Minikube profile `p`: minikube status ended with exit code 80: GUEST_STATUS: Cannot connect to the Docker daemon
              try: sudo systemctl start docker
            14 Minikube profile `p`: minikube status ended with exit code 14: 
              try: minikube logs -p p --problems
        "#]].assert_eq(&all);
    }
}
