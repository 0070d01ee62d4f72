//! nchan, the module of nginx, from the system's packages.

use crate::peers::ask;
use anyhow::{Context, Result};
use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

/// Where distributions put nginx's modules.
const MODULES: [&str; 3] = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/lib/nginx/modules"];

/// nginx and both versions, or what is lacking.
pub fn find() -> Result<(PathBuf, String), &'static str> {
    let nginx = ["nginx", "/usr/sbin/nginx"].map(PathBuf::from).into_iter().find_map(|nginx| {
        let said = Command::new(&nginx).arg("-v").output().ok()?;
        // nginx says its version on standard error.
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        Some((nginx, text.trim().rsplit('/').next().unwrap_or_default().to_owned()))
    });
    let (nginx, runtime) = nginx.ok_or("nginx")?;
    module().ok_or("nginx's module nchan")?;
    let query = ["-W", "-f", "${Version}", "libnginx-mod-nchan"];
    let version = ask(Path::new("dpkg-query"), &query).unwrap_or_else(|| "of unknown version".into());
    Ok((nginx, format!("{version}, nginx {runtime}")))
}

fn module() -> Option<PathBuf> {
    MODULES.iter().map(|folder| Path::new(folder).join("ngx_nchan_module.so")).find(|module| module.exists())
}

/// Writes the configuration with its places filled in.
pub fn configure(folder: &Path, home: &Path, listen: SocketAddr) -> Result<()> {
    let template = folder.join("nchan.conf");
    let text = fs::read_to_string(&template).with_context(|| format!("reading {}", template.display()))?;
    let module = module().context("nginx's module nchan is gone")?;
    let text = text
        .replace("{home}", &home.to_string_lossy())
        .replace("{module}", &module.to_string_lossy())
        .replace("{listen}", &listen.to_string());
    fs::write(home.join("nchan.conf"), text).context("writing nchan.conf")
}

/// How nginx is told where its configuration is.
pub fn arguments(home: &Path) -> [OsString; 4] {
    ["-p".into(), home.into(), "-c".into(), home.join("nchan.conf").into()]
}
