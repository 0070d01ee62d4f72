//! The command line: types only; what the commands do stands elsewhere.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::Override;

/// One PUBLISH into Redis reaches every client in the room, on every replica.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "fanline", version, after_help = "Example: fanline --redis-url redis://127.0.0.1:6379")]
pub struct Cli {
    /// What to do; nothing said: serve.
    #[command(subcommand)]
    command: Option<Command>,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

impl Cli {
    /// Understands a command line, the program's name first.
    ///
    /// # Errors
    /// It is no command line of ours, or has a flag that its command does not use; or it asks for help.
    pub fn read(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let cli = Self::from_arg_matches(&Self::told().try_get_matches_from(args)?)?;
        match cli.unused() {
            None => Ok(cli),
            Some(unused) => Err(Self::command().error(ErrorKind::ArgumentConflict, unused)),
        }
    }

    /// The definition whose help names the flags only where they do something.
    fn told() -> clap::Command {
        let command = Self::command();
        let settings: Vec<_> = command.get_arguments().filter(|flag| flag.is_global_set()).cloned().collect();
        command.mut_subcommands(|sub| {
            let Some(&(_, sections, _)) = USES.iter().find(|(name, ..)| *name == sub.get_name()) else { return sub };
            let is_used = |flag: &Arg| match flag.get_id().as_str() {
                "config" | "set" => !sections.is_empty(),
                key => sections.iter().any(|section| key.starts_with(section.trim_end_matches('.'))),
            };
            let unused = settings.iter().filter(|flag| !is_used(flag));
            sub.args(unused.map(|flag| flag.clone().hide(true)))
        })
    }

    /// What to say of a flag that would do nothing: who sets it expects it to.
    fn unused(&self) -> Option<String> {
        let name = match self.task() {
            Command::Serve | Command::CheckConfig { .. } | Command::PrintConfig => return None,
            Command::Which { .. } => "which",
            Command::Publish { .. } => "publish",
            Command::Healthcheck => "healthcheck",
            Command::Listen { .. } => "listen",
        };
        let (_, sections, instead) = USES.iter().find(|(used, ..)| *used == name)?;
        let used = |key: &str| sections.iter().any(|section| key.starts_with(section));
        let file = self.settings.config.is_some() && sections.is_empty();
        let flag = match file {
            true => Some("--config".to_owned()),
            false => self.settings.overrides().into_iter().find(|set| !used(&set.key)).map(|set| set.flag),
        };
        Some(format!("fanline {name} does not use {}: {instead}", flag?))
    }

    /// What to do.
    #[must_use]
    pub fn task(&self) -> Command {
        self.command.clone().unwrap_or(Command::Serve)
    }
}

/// The commands that do not use all settings: which sections they use, and what they do instead.
const USES: &[(&str, &[&str], &str)] = &[
    ("which", &["redis."], "it asks nobody, and looks at redis.* and the topic rules"),
    ("publish", &["internal."], PUBLISHES),
    ("healthcheck", &["internal."], "it asks the gateway at internal.listen"),
    ("listen", &[], "it connects to the URL and reads no configuration"),
];

/// Where `fanline publish` goes.
const PUBLISHES: &str = "it asks the gateway at internal.listen (--internal-listen), which publishes where that is \
    configured to; without one: redis-cli -u URL PUBLISH fanline:TOPIC TEXT";

/// Where settings come from; the flags win over variables, and these over the file.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArgs {
    /// The configuration file [default: fanline.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where clients connect, e.g. 0.0.0.0:8080
    #[arg(long, global = true, value_name = "ADDRESS")]
    public_listen: Option<String>,
    /// Where operators and producers connect, e.g. 127.0.0.1:8081
    #[arg(long, global = true, value_name = "ADDRESS")]
    internal_listen: Option<String>,
    /// Where Redis is, e.g. redis://127.0.0.1:6379
    #[arg(long, global = true, value_name = "URL")]
    redis_url: Option<String>,
    /// How much is logged, e.g. debug
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Any other key, e.g. --set limits.burst=500
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

impl SettingsArgs {
    /// The keys that the flags set; a named flag wins over `--set`.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let set = self.set.iter().map(|(key, value)| Override {
            flag: format!("--set {key}"),
            key: key.clone(),
            value: value.clone(),
        });
        let named = [
            ("--public-listen", "public.listen", &self.public_listen),
            ("--internal-listen", "internal.listen", &self.internal_listen),
            ("--redis-url", "redis.url", &self.redis_url),
            ("--log-level", "log.level", &self.log_level),
        ];
        let named = named.into_iter().filter_map(|(flag, key, value)| {
            Some(Override { flag: flag.into(), key: key.into(), value: value.clone()? })
        });
        set.chain(named).collect()
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().into(), value.into())),
        None => Err("expected KEY=VALUE, such as limits.burst=500".into()),
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the gateway; this is what happens when no command is given
    #[command(after_help = "Example: fanline serve --config fanline.toml")]
    Serve,
    /// Say whether the configuration can be used; exits with 64 if not
    #[command(after_help = "Example: fanline check-config --config fanline.toml --connect")]
    CheckConfig {
        /// Also connect to Redis
        #[arg(long)]
        connect: bool,
    },
    /// Print the effective configuration as TOML, secrets as ***
    #[command(after_help = "Example: FANLINE_LIMITS__BURST=500 fanline print-config")]
    PrintConfig,
    /// Say which channel and link carry a topic, and which rule holds for it
    #[command(after_help = "Example: fanline which room:42")]
    Which {
        /// The topic's name
        topic: String,
    },
    /// Connect as a client and print what arrives, a message a line
    #[command(after_help = "Example: fanline listen 'ws://127.0.0.1:8080/ws?topic=room:42' --count 1")]
    Listen {
        /// Where to connect
        url: String,
        /// Leave after so many messages
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// Publish a text to every client that listens to a topic
    #[command(after_help = "Example: fanline publish room:42 'hello'")]
    Publish {
        /// The topic's name
        topic: String,
        /// What they receive
        text: String,
    },
    /// Ask the gateway of this configuration whether it is ready; exits with 1 if not
    #[command(after_help = "Example: HEALTHCHECK CMD [\"fanline\", \"healthcheck\"]")]
    Healthcheck,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(args: &[&str]) -> Cli {
        Cli::try_parse_from(std::iter::once(&"fanline").chain(args)).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves() {
        assert_eq!(parse(&[]).task(), Command::Serve);
        assert_eq!(parse(&["serve"]).task(), Command::Serve);
    }

    #[test]
    fn the_settings_flags_stand_before_or_behind_the_command() {
        for args in [["--config", "a.toml", "print-config"], ["print-config", "--config", "a.toml"]] {
            let cli = parse(&args);
            assert_eq!(cli.settings.config, Some("a.toml".into()));
            assert_eq!(cli.task(), Command::PrintConfig);
        }
    }

    #[test]
    fn every_flag_sets_its_key_and_a_named_one_wins_over_set() {
        let line = "--set public.listen=a=b --public-listen b --internal-listen c --redis-url d --log-level e";
        let cli = parse(&line.split(' ').collect::<Vec<_>>());
        let overrides = cli.settings.overrides();
        let shown: Vec<_> = overrides.iter().map(|o| format!("{} {} {}", o.flag, o.key, o.value)).collect();
        assert_eq!(
            shown,
            [
                "--set public.listen public.listen a=b",
                "--public-listen public.listen b",
                "--internal-listen internal.listen c",
                "--redis-url redis.url d",
                "--log-level log.level e",
            ]
        );
    }

    #[test]
    fn a_flag_that_a_command_does_not_use_is_refused() {
        let read = |line: &str| Cli::read(format!("fanline {line}").split(' ')).map_err(|error| error.to_string());
        for (line, flag) in [
            ("publish a b --redis-url redis://h", "--redis-url"),
            ("--public-listen h:1 publish a b", "--public-listen"),
            ("publish a b --set redis.url=redis://h", "--set redis.url"),
            ("healthcheck --log-level debug", "--log-level"),
            ("which a --internal-listen h:1", "--internal-listen"),
            ("listen ws://h --config a.toml", "--config"),
            ("listen ws://h --set limits.burst=1", "--set limits.burst"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(&format!("does not use {flag}: ")), "{line}: {error}");
        }
        for line in [
            "serve --redis-url redis://h --public-listen h:1",
            "check-config --log-level debug --set limits.burst=1",
            "which a --redis-url redis://h --config a.toml --set redis.prefix=x",
            "publish a b --internal-listen h:1 --config a.toml --set internal.api_keys=a:b",
            "healthcheck --internal-listen h:1",
            "listen ws://h --count 1",
        ] {
            assert!(read(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn help_names_the_flags_that_a_command_uses_and_no_others() {
        const ALL: [&str; 6] =
            ["--config", "--public-listen", "--internal-listen", "--redis-url", "--log-level", "--set"];
        for (command, used) in [
            ("serve", &ALL[..]),
            ("which", &["--config", "--redis-url", "--set"]),
            ("publish", &["--config", "--internal-listen", "--set"]),
            ("healthcheck", &["--config", "--internal-listen", "--set"]),
            ("listen", &[]),
        ] {
            for line in [["fanline", command, "--help"], ["fanline", "help", command]] {
                let help = Cli::read(line).unwrap_err().to_string();
                let named: Vec<_> = ALL.into_iter().filter(|flag| help.contains(&format!("{flag} <"))).collect();
                assert_eq!(named, used, "{line:?}: {help}");
            }
        }
    }

    #[test]
    fn set_needs_a_key_and_a_value() {
        let error = Cli::try_parse_from(["fanline", "--set", "limits.burst"]).unwrap_err().to_string();
        assert!(error.contains("expected KEY=VALUE, such as limits.burst=500"), "{error}");
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Example: "), "{}", command.get_name());
        }
    }
}
