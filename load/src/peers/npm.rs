//! Peers from npm: packages in the peers' own `node_modules`, run by Node, and Bun, which runs itself.

use crate::peers::ask;
use serde::Deserialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Deserialize)]
struct Package {
    version: String,
}

/// Node and a package on it; answers the program and both versions, or what is lacking.
pub fn on_node(folder: &Path, package: &'static str) -> Result<(PathBuf, String), &'static str> {
    let node = PathBuf::from("node");
    let runtime = ask(&node, &["--version"]).ok_or("node")?;
    let version = version(folder, package).ok_or(package)?;
    Ok((node, format!("{version}, Node {}", runtime.trim_start_matches('v'))))
}

/// The Bun that was installed beside the scripts, else the machine's.
pub fn bun(folder: &Path) -> Result<(PathBuf, String), &'static str> {
    let bun = installed_bun(folder).unwrap_or_else(|| PathBuf::from("bun"));
    let version = ask(&bun, &["--version"]).ok_or("bun")?;
    Ok((bun, version))
}

/// npm lays the binary for this machine into `@oven/bun-<system>-<processor>`; the package `bun` only points there.
fn installed_bun(folder: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(folder.join("node_modules/@oven")).ok()?;
    let mut binaries = folders.flatten().map(|folder| folder.path().join("bin/bun"));
    let found = binaries.find(|binary| ask(binary, &["--version"]).is_some())?;
    std::path::absolute(found).ok()
}

fn version(folder: &Path, package: &str) -> Option<String> {
    let text = fs::read_to_string(folder.join("node_modules").join(package).join("package.json")).ok()?;
    serde_json::from_str::<Package>(&text).ok().map(|package| package.version)
}
