//! What each command does; what it needs stands in the library.

mod logging;
mod notify;
mod serve;

use std::process::ExitCode;

use anyhow::Context;
use fanline::cli::{Cli, Command};
use fanline::config::{self, Limits, Loaded, Sources};
use fanline::identity::Replica;
use fanline::link::doctor::Level;
use fanline::{broker, client, link};

/// The configuration cannot be used (`EX_USAGE` of sysexits.h).
const CONFIG: u8 = 64;
/// An address cannot be bound (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;

/// Carries out the command.
pub fn run(cli: &Cli, descriptors: usize) -> anyhow::Result<ExitCode> {
    let sources = sources(cli, descriptors);
    if let Command::Listen { url, count } = cli.task() {
        return block_on(client::listen(&url, count)).map(|()| ExitCode::SUCCESS);
    }
    let loaded = match config::load(&sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            eprintln!("fanline: the configuration cannot be used:\n{mistakes}");
            return Ok(ExitCode::from(CONFIG));
        }
    };
    match cli.task() {
        Command::Serve => serve::serve(&loaded, &sources, descriptors),
        Command::CheckConfig { connect } => check(&loaded, connect),
        Command::PrintConfig => {
            print!("{}", config::print(&loaded.settings));
            Ok(ExitCode::SUCCESS)
        }
        Command::Which { topic } => which(&loaded, &topic),
        Command::Publish { topic, text } => {
            println!("{}", block_on(client::publish(&loaded.settings, &topic, &text))?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Healthcheck => {
            println!("{}", block_on(client::healthcheck(&loaded.settings))?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Listen { .. } => Ok(ExitCode::SUCCESS),
    }
}

fn sources(cli: &Cli, descriptors: usize) -> Sources {
    Sources {
        file: cli.settings.config.clone(),
        env: config::environment(),
        flags: cli.settings.overrides(),
        limits: Limits { descriptors: u64::try_from(descriptors).ok() },
    }
}

fn check(loaded: &Loaded, connect: bool) -> anyhow::Result<ExitCode> {
    for warning in &loaded.warnings {
        println!("warning: {warning}");
    }
    let source =
        loaded.file.as_ref().map_or_else(|| "no configuration file".to_owned(), |file| file.display().to_string());
    println!("the configuration is good ({source})");
    let redis = &loaded.settings.redis;
    if !connect {
        return Ok(ExitCode::SUCCESS);
    }
    if redis.url.is_empty() {
        println!("no Redis is configured: nothing to connect to (set redis.url or REDIS_URL)");
        return Ok(ExitCode::SUCCESS);
    }
    let histories = loaded.settings.topics.keeps_histories();
    let replica = Replica::new("check-config");
    let findings = block_on(async { Ok(link::doctor::check(redis, &replica, histories).await) })?;
    findings.iter().for_each(|finding| println!("{finding}"));
    let failed = findings.iter().any(|finding| finding.level == Level::Bad);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn which(loaded: &Loaded, topic: &str) -> anyhow::Result<ExitCode> {
    let topic = fanline::topic::Topic::parse(topic).with_context(|| format!("{topic:?} is no topic"))?;
    let rule = loaded.settings.topics.rule(topic.as_str());
    println!("topic   {topic}");
    println!("rule    match = {:?}", rule.matches);
    let home = broker::redis::home(&loaded.settings.redis, &topic);
    match loaded.settings.redis.url.is_empty() {
        true => println!("home    this process (no Redis is configured)"),
        false => println!("channel {}\nhome    {}\nlink    {}", home.channel, home.address, home.link),
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?.block_on(future)
}
