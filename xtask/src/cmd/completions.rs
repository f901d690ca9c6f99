//! `completions`: the words of the command line for bash, zsh and fish, from the same definition that parses it.
//!
//! Written for `cargo xtask`, so the scripts complete the words after `xtask` and leave the rest of cargo alone.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::CommandFactory;

use crate::cli::{Cli, CompletionShell, CompletionsArgs};

pub(crate) fn run(args: &CompletionsArgs) -> Result<u8> {
    print!("{}", script(args.shell));
    Ok(0)
}

fn script(shell: CompletionShell) -> String {
    let command = Cli::command();
    let verbs: Vec<&str> = command.get_subcommands().map(|verb| verb.get_name()).collect();
    match shell {
        CompletionShell::Bash => bash(&command, &verbs),
        CompletionShell::Zsh => {
            format!("autoload -U +X bashcompinit && bashcompinit\n{}", bash(&command, &verbs))
        }
        CompletionShell::Fish => fish(&command, &verbs),
    }
}

/// What completed cargo before goes on doing so for all but `xtask`.
fn bash(command: &clap::Command, verbs: &[&str]) -> String {
    let mut cases = String::new();
    for verb in command.get_subcommands() {
        cases.push_str(&format!("    {}) words=\"{}\" ;;\n", verb.get_name(), words(command, verb).join(" ")));
    }
    let mut values = String::new();
    for (flag, known) in values_of(command) {
        values.push_str(&format!("    {flag}) words=\"{}\" ;;\n", known.join(" ")));
    }
    BASH.replace("@CASES@", &cases).replace("@VALUES@", &values).replace("@VERBS@", &verbs.join(" "))
}

const BASH: &str = r#"declare -F _completion_loader >/dev/null && _completion_loader cargo 2>/dev/null
_swell_found=$(complete -p cargo 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
[ "$_swell_found" = _swell_xtask ] || _swell_before=$_swell_found
_swell_xtask() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words
  if [ "${COMP_WORDS[1]}" != xtask ]; then
    [ -z "$_swell_before" ] || "$_swell_before" "$@"
    return
  fi
  case ${COMP_WORDS[2]} in
@CASES@    *) words="@VERBS@" ;;
  esac
  case $prev in
@VALUES@  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _swell_xtask cargo
"#;

fn fish(command: &clap::Command, verbs: &[&str]) -> String {
    let mut script = format!(
        "complete -c cargo -n '__fish_seen_subcommand_from xtask; and not __fish_seen_subcommand_from {0}' -f -a '{0}'\n",
        verbs.join(" ")
    );
    for verb in command.get_subcommands() {
        let words = words(command, verb);
        let plain: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
        if !plain.is_empty() {
            let (verb, plain) = (verb.get_name(), plain.join(" "));
            script.push_str(&format!("complete -c cargo -n '__fish_seen_subcommand_from {verb}' -f -a '{plain}'\n"));
        }
        for flag in words.iter().filter_map(|flag| flag.strip_prefix("--")) {
            script.push_str(&format!(
                "complete -c cargo -n '__fish_seen_subcommand_from {}' -l {flag}\n",
                verb.get_name()
            ));
        }
    }
    script
}

/// What may follow a verb: its flags and those of all verbs, its own verbs, and what its argument can be.
fn words(command: &clap::Command, verb: &clap::Command) -> Vec<String> {
    let flags = verb.get_arguments().chain(command.get_arguments()).filter_map(|arg| arg.get_long());
    let verbs = verb.get_subcommands().map(|verb| verb.get_name().to_owned());
    let arguments = verb.get_positionals().flat_map(known_values);
    flags.map(|long| format!("--{long}")).chain(verbs).chain(arguments).collect()
}

/// The flags that take one of a few words.
fn values_of(command: &clap::Command) -> BTreeMap<String, Vec<String>> {
    let all = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let taking = all.filter_map(|arg| Some((format!("--{}", arg.get_long()?), known_values(arg))));
    taking.filter(|(_, values)| !values.is_empty()).collect()
}

fn known_values(arg: &clap::Arg) -> Vec<String> {
    let takes_one = arg.get_action().takes_values();
    let values = arg.get_possible_values();
    values.iter().filter(|_| takes_one).map(|value| value.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_its_flags_are_offered() {
        for shell in [CompletionShell::Bash, CompletionShell::Zsh, CompletionShell::Fish] {
            let script = script(shell);
            for word in ["setup", "teardown", "explain"] {
                assert!(script.contains(word), "{word} is not offered");
            }
            assert!(script.contains("pace") && script.contains("junit") && script.contains("profile"));
            assert!(script.contains("timeline") && script.contains("zsh"), "verbs of verbs, values of arguments");
        }
    }

    /// What bash offers behind the given words.
    fn offered(typed: &str) -> Option<String> {
        let before = "_before() { COMPREPLY=(build); }; complete -F _before cargo";
        let words: Vec<&str> = typed.split(' ').collect();
        let ask = format!(
            "{before}\n{}\nCOMP_WORDS=({typed} '')\nCOMP_CWORD={}\n_swell_xtask\necho \"${{COMPREPLY[@]}}\"",
            script(CompletionShell::Bash),
            words.len()
        );
        let output = std::process::Command::new("bash").args(["--norc", "-c", &ask]).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    #[test]
    fn bash_offers_values_behind_a_flag_and_leaves_the_rest_of_cargo_as_it_was() {
        let Some(paces) = offered("cargo xtask setup --pace") else { return eprintln!("there is no bash") };
        assert_eq!(paces, "real fast");
        assert_eq!(offered("cargo").unwrap(), "build");
        assert!(offered("cargo xtask").unwrap().starts_with("setup load watch"));
    }
}
