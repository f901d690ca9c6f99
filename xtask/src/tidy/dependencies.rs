//! Where our dependencies come from and on what terms: `deny.toml`, by cargo-deny where it is installed.

use std::process::Command;

use super::root;

#[test]
fn dependencies_have_a_source_and_a_licence_that_is_allowed() {
    let mut command = Command::new("cargo-deny");
    // Advisories need a database from outside; a test reaches nothing but loopback.
    command.args(["--offline", "check", "licenses", "bans", "sources"]).current_dir(root());
    let Ok(output) = command.output() else {
        eprintln!("cargo-deny is not installed: licences and sources are not checked");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("--offline was specified") {
        eprintln!("not every crate is downloaded (cargo fetch): licences and sources are not checked");
        return;
    }
    assert!(output.status.success(), "{said}");
}
