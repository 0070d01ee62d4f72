//! Secrets in files of their own, as Docker and Kubernetes mount them.

use std::fs::File;
use std::io::{self, Read};

use config::{Value, ValueKind};

use super::keys::Key;
use super::kinds::{found, quote};
use super::layer::origin;
use super::mistakes::Report;
use crate::settings::Secret;

/// No secret is longer; keeps a slip such as `/dev/zero` from filling the memory.
const LONGEST: u64 = 1 << 20;

/// The secret in the file that `twin` names; nothing where that is a mistake.
pub(super) fn read(
    key: &Key<'_>,
    twin: &str,
    path: &Value,
    direct: Option<&Value>,
    report: &mut Report,
) -> Option<Value> {
    let place = origin(path);
    if let Some(direct) = direct {
        let name = key.name;
        let other = origin(direct);
        report.mistake(&place, format!("{name} and {twin} are both set ({name} at {other}); take one away"));
        return None;
    }
    let ValueKind::String(name) = &path.kind else {
        let found = found(&path.kind);
        report.mistake(&place, format!("{twin} = {found}: expected the path of a file such as \"/run/secrets/redis\""));
        return None;
    };
    match content(name) {
        Ok((content, exposed)) => {
            if exposed {
                report.warn(name, &format!("every user can read this file with {}; chmod o-r it", key.name));
            }
            let Some(content) = Secret::in_content(&content) else {
                report.mistake(&place, format!("{twin} = {}: the file is empty", quote(name)));
                return None;
            };
            Some(Value::new(Some(name), key.field.typed_file(content)))
        }
        Err(error) => {
            report.mistake(&place, format!("{twin} = {}: the file cannot be read: {error}", quote(name)));
            None
        }
    }
}

/// A file's text, and whether everybody may read it.
fn content(path: &str) -> io::Result<(String, bool)> {
    let file = File::open(path)?;
    let exposed = is_exposed(&file)?;
    let mut content = String::new();
    file.take(LONGEST + 1).read_to_string(&mut content)?;
    if content.len() as u64 > LONGEST {
        return Err(io::Error::other("it is larger than 1MiB"));
    }
    Ok((content, exposed))
}

#[cfg(unix)]
fn is_exposed(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_exposed(_: &File) -> io::Result<bool> {
    Ok(false)
}
