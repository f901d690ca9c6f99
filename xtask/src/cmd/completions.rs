//! `completions`: the words of the command line for bash, zsh and fish, from the same definition that parses it.
//!
//! Written for `cargo xtask`, so the scripts complete the words after `xtask` and leave the rest of cargo alone.

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

fn bash(command: &clap::Command, verbs: &[&str]) -> String {
    let mut cases = String::new();
    for verb in command.get_subcommands() {
        cases.push_str(&format!("    {}) words=\"{}\" ;;\n", verb.get_name(), flags(verb).join(" ")));
    }
    format!(
        "_swell_xtask() {{\n  local cur=${{COMP_WORDS[COMP_CWORD]}} words\n  \
         [ \"${{COMP_WORDS[1]}}\" = xtask ] || return\n  \
         case ${{COMP_WORDS[2]}} in\n{cases}    *) words=\"{}\" ;;\n  esac\n  \
         COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}}\ncomplete -o default -F _swell_xtask cargo\n",
        verbs.join(" ")
    )
}

fn fish(command: &clap::Command, verbs: &[&str]) -> String {
    let mut script = format!(
        "complete -c cargo -n '__fish_seen_subcommand_from xtask; and not __fish_seen_subcommand_from {0}' -f -a '{0}'\n",
        verbs.join(" ")
    );
    for verb in command.get_subcommands() {
        for flag in flags(verb).iter().filter_map(|flag| flag.strip_prefix("--")) {
            script.push_str(&format!(
                "complete -c cargo -n '__fish_seen_subcommand_from {}' -l {flag}\n",
                verb.get_name()
            ));
        }
    }
    script
}

fn flags(verb: &clap::Command) -> Vec<String> {
    verb.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")).collect()
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
            assert!(script.contains("pace") && script.contains("junit"));
        }
    }
}
