//! The committed costs, and what they were measured with.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::measure::Costs;

/// What `baseline.json` holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Baseline {
    pub toolchain: Toolchain,
    pub costs: Costs,
}

/// What instruction counts depend on besides our code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    pub rustc: String,
    pub libc: String,
    pub processor: String,
    /// By which libraries choose their code when they run.
    pub features: String,
}

impl Toolchain {
    /// Of this machine.
    pub fn here() -> Self {
        Self {
            rustc: said("rustc", &["--version"]),
            libc: said("getconf", &["GNU_LIBC_VERSION"]),
            processor: std::env::consts::ARCH.to_owned(),
            features: features(),
        }
    }
}

fn features() -> String {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("sse4.2", std::arch::is_x86_feature_detected!("sse4.2")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512vl", std::arch::is_x86_feature_detected!("avx512vl")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let known: [(&str, bool); 0] = [];
    let present = known.into_iter().filter(|&(_, present)| present).map(|(name, _)| name);
    present.collect::<Vec<_>>().join(" ")
}

impl Baseline {
    pub fn read() -> Self {
        let text = fs::read_to_string(path()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub fn write(&self) {
        let text = serde_json::to_string_pretty(self).unwrap();
        fs::write(path(), text + "\n").unwrap();
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
}

/// What a program prints; its name where there is none of it.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(|_| format!("no {program}"), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
