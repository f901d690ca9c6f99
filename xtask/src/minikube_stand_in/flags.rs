//! The command line as Minikube takes it: which sub-commands there are and which flags each has.
//!
//! Flags may stand before or after the sub-command, as `--name value`, `--name=value`, `-n value` or `-nvalue`. Any
//! flag can also come from the environment as `MINIKUBE_<NAME>`.

use std::collections::BTreeMap;

/// `name`, optional `/x` for a one-letter form, and a trailing `!` where the flag is a switch.
const GLOBAL: &str = "profile/p bootstrapper/b user skip-audit! rootless! alsologtostderr! logtostderr! v/v log_file \
                      log_dir stderrthreshold vmodule help/h!";

const COMMANDS: [(&str, &str); 19] = [
    (
        "start",
        "driver/d vm-driver cpus memory/m nodes/n kubernetes-version container-runtime/c addons extra-config wait \
         wait-timeout interactive! output/o ports listen-address keep-context! delete-on-failure! force! dry-run! \
         install-addons! disable-metrics! static-ip embed-certs! download-only! base-image image-mirror-country \
         disk-size cni insecure-registry preload! feature-gates apiserver-port",
    ),
    ("status", "output/o layout/l node/n format/f watch/w"),
    ("stop", "all! keep-context-active! output/o schedule cancel-scheduled!"),
    ("delete", "all! purge! output/o"),
    ("profile list", "output/o light/l! detailed/d!"),
    ("addons enable", "images registries refresh! force!"),
    ("addons list", "output/o docs/d!"),
    ("ip", "node/n"),
    ("image load", "daemon! remote! pull! overwrite!"),
    ("image ls", "format"),
    ("service", "url! namespace/n https! format wait interval all!"),
    ("service list", "output/o namespace/n"),
    ("update-context", ""),
    ("logs", "follow/f! problems! length/n node file audit! last-start-only!"),
    ("version", "output/o short! components!"),
    ("kubectl", "ssh!"),
    ("pause", "namespaces/n all-namespaces/A! output/o"),
    ("unpause", "namespaces/n all-namespaces/A! output/o"),
    ("ssh", "node/n native-ssh!"),
];

#[derive(Debug, PartialEq)]
pub(crate) struct Invocation {
    pub(crate) command: Vec<String>,
    pub(crate) args: Vec<String>,
    flags: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct ParseError {
    pub(crate) message: String,
    pub(crate) hint: String,
}

#[derive(Clone, Copy)]
struct Flag {
    name: &'static str,
    letter: Option<char>,
    is_switch: bool,
}

impl Invocation {
    pub(crate) fn parse(argv: &[String]) -> Result<Invocation, ParseError> {
        let command = find_command(argv)?;
        let known = flags_of(&command);
        let mut this = Invocation { command: Vec::new(), args: Vec::new(), flags: BTreeMap::new() };
        let mut words = argv.iter();
        let mut plain = Vec::new();
        while let Some(word) = words.next() {
            if word == "--" {
                plain.extend(words.by_ref().cloned());
            } else if word.len() > 1 && word.starts_with('-') {
                this.take_flag(word, &mut words, &known, &command)?;
            } else {
                plain.push(word.clone());
            }
        }
        let depth = command.split(' ').count();
        this.command = plain.drain(..depth).collect();
        this.args = plain;
        this.flags_from_environment(&known);
        Ok(this)
    }

    fn take_flag<'a>(
        &mut self,
        word: &str,
        words: &mut impl Iterator<Item = &'a String>,
        known: &[Flag],
        command: &str,
    ) -> Result<(), ParseError> {
        let (flag, inline) = match word.strip_prefix("--") {
            Some(long) => {
                let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
                let flag = known.iter().find(|flag| flag.name == name);
                (flag.ok_or_else(|| unknown(&format!("unknown flag: --{name}"), command))?, value)
            }
            None => {
                let letter = word.chars().nth(1).unwrap_or('-');
                let rest = &word[1 + letter.len_utf8()..];
                let flag = known.iter().find(|flag| flag.letter == Some(letter));
                let message = format!("unknown shorthand flag: '{letter}' in {word}");
                let value = (!rest.is_empty()).then(|| rest.strip_prefix('=').unwrap_or(rest));
                (flag.ok_or_else(|| unknown(&message, command))?, value)
            }
        };
        let value = match inline {
            Some(value) => value.to_owned(),
            None if flag.is_switch => "true".to_owned(),
            None => {
                let missing = || unknown(&format!("flag needs an argument: --{}", flag.name), command);
                words.next().ok_or_else(missing)?.clone()
            }
        };
        self.flags.entry(flag.name.to_owned()).or_default().push(value);
        Ok(())
    }

    fn flags_from_environment(&mut self, known: &[Flag]) {
        for flag in known {
            let variable = format!("MINIKUBE_{}", flag.name.to_uppercase().replace('-', "_"));
            if let (false, Ok(value)) = (self.flags.contains_key(flag.name), std::env::var(variable)) {
                self.flags.insert(flag.name.to_owned(), vec![value]);
            }
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.flags.get(name).and_then(|values| values.last()).map(String::as_str)
    }

    /// Every value of a repeatable flag, comma lists taken apart.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        let values = self.flags.get(name).into_iter().flatten();
        values.flat_map(|value| value.split(',')).filter(|value| !value.is_empty()).collect()
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value != "false")
    }

    pub(crate) fn profile(&self) -> &str {
        self.value("profile").unwrap_or("minikube")
    }
}

fn unknown(message: &str, command: &str) -> ParseError {
    ParseError { message: message.to_owned(), hint: format!("See 'minikube {command} --help' for usage.") }
}

/// The longest command that the plain words begin with. Flags before it take values too, so global ones are skipped.
fn find_command(argv: &[String]) -> Result<String, ParseError> {
    let mut words = Vec::new();
    let globals = parse_table(GLOBAL);
    let mut skip = false;
    for word in argv {
        if std::mem::take(&mut skip) {
            continue;
        }
        if word == "--" {
            break;
        }
        if let Some(flag) = word.strip_prefix('-') {
            let takes_next = |global: &&Flag| {
                !global.is_switch
                    && (flag == format!("-{}", global.name) || global.letter.map(String::from).as_deref() == Some(flag))
            };
            skip = globals.iter().any(|global| takes_next(&global));
            continue;
        }
        words.push(word.as_str());
    }
    let two = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    let one = words.first().copied().unwrap_or_default().to_owned();
    for candidate in [&two, &one] {
        if COMMANDS.iter().any(|(name, _)| name == candidate) {
            return Ok(candidate.clone());
        }
    }
    Err(ParseError {
        message: format!("unknown command {one:?} for \"minikube\""),
        hint: "Run 'minikube --help' for usage.".to_owned(),
    })
}

fn flags_of(command: &str) -> Vec<Flag> {
    let own = COMMANDS.iter().find(|(name, _)| *name == command).map_or("", |(_, flags)| *flags);
    let mut flags = parse_table(own);
    // A sub-command's own letter wins over a global one.
    for global in parse_table(GLOBAL) {
        let letter = global.letter.filter(|letter| flags.iter().all(|flag| flag.letter != Some(*letter)));
        flags.push(Flag { letter, ..global });
    }
    flags
}

fn parse_table(text: &'static str) -> Vec<Flag> {
    let parse = |word: &'static str| {
        let (word, is_switch) = word.strip_suffix('!').map_or((word, false), |word| (word, true));
        let (name, letter) = word.split_once('/').map_or((word, None), |(name, letter)| (name, letter.chars().next()));
        Flag { name, letter, is_switch }
    };
    text.split_whitespace().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Invocation, ParseError> {
        Invocation::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_profile_may_stand_anywhere_in_any_spelling() {
        for line in ["-p lab status", "status -p lab", "status -plab", "--profile=lab status", "status --profile lab"] {
            let given = parse(line).unwrap();
            assert_eq!((given.command.join(" ").as_str(), given.profile()), ("status", "lab"), "{line}");
        }
    }

    #[test]
    fn flags_belong_to_their_sub_command() {
        for (line, message) in [
            ("status --interactive=false", "unknown flag: --interactive"),
            ("image ls -o json", "unknown shorthand flag: 'o' in -o"),
            ("image ls --output json", "unknown flag: --output"),
            ("ip -o json", "unknown shorthand flag: 'o' in -o"),
            ("start --cpus", "flag needs an argument: --cpus"),
        ] {
            assert_eq!(parse(line).map_err(|error| error.message), Err(message.to_owned()), "{line}");
        }
        assert!(
            parse("frobnicate").is_err_and(|error| error.message == "unknown command \"frobnicate\" for \"minikube\"")
        );
    }

    #[test]
    fn arguments_lists_and_switches_are_told_apart() {
        let given = parse("service list -n lab -o json").unwrap();
        assert_eq!((given.command.join(" ").as_str(), given.value("namespace")), ("service list", Some("lab")));
        let given = parse("-p lab service web --url -n lab").unwrap();
        assert_eq!((given.command.join(" ").as_str(), &given.args[..]), ("service", &["web".to_owned()][..]));
        assert!(given.is_on("url") && !given.is_on("https"));
        let given = parse("start --addons=a,b --addons c --interactive=false").unwrap();
        assert_eq!(given.list("addons"), ["a", "b", "c"]);
        assert!(!given.is_on("interactive"));
        let given = parse("kubectl -p lab -- get pods -A").unwrap();
        assert_eq!(given.args, ["get", "pods", "-A"]);
    }
}
