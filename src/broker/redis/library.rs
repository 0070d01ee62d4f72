//! The library by which producers publish with a history of their own accord: `FCALL fanline_publish`. It is brought to
//! every master that the canaries meet, where it is missing, older, or made for other settings; a newer one stays.

use std::sync::atomic::{AtomicBool, Ordering};

use redis::{RedisError, Value};

use super::script::Script;
use crate::link::connect::{Role, Wire, driven};
use crate::link::doctor::histories::mend;
use crate::link::endpoint::Endpoint;
use crate::link::keys::Keys;
use crate::repeat::Repeats;

/// The oldest server that has functions.
const OLDEST: (u32, u32) = (7, 0);

/// Brings it to one master, where topics keep histories at all. Answers whether there is nothing left to try.
pub(super) async fn bring(wire: &mut Wire, script: &Script, endpoint: &Endpoint, keys: &Keys) -> bool {
    let able = wire.server.role == Role::Master && wire.server.numbers().is_none_or(|version| version >= OLDEST);
    if !able || !script.rules.keeps_histories() {
        return true;
    }
    // Only producers that call it miss it; a replica's own publications go by EVALSHA.
    let Err(error) = load(wire, script).await else { return true };
    let mend = mend(&error.to_string(), &endpoint.user(), &keys.pattern());
    tell(wire, &keys.function(), &error, &mend);
    error.code() == Some("NOPERM")
}

/// A right that our user has not is the operator's choice, and said once.
fn tell(wire: &Wire, function: &str, error: &RedisError, mend: &str) {
    static WITHHELD: AtomicBool = AtomicBool::new(false);
    static FAILED: Repeats = Repeats::new();
    if error.code() == Some("NOPERM") {
        if !WITHHELD.swap(true, Ordering::Relaxed) {
            tracing::info!(redis = %wire.place, function, %error, mend, "producers are offered no FCALL");
        }
    } else if let Some(unsaid) = FAILED.due(error.code()) {
        tracing::warn!(redis = %wire.place, function, %error, mend, unsaid, "producers cannot FCALL the function");
    }
}

async fn load(wire: &mut Wire, script: &Script) -> Result<(), RedisError> {
    let mut list = redis::cmd("FUNCTION");
    list.arg("LIST").arg("LIBRARYNAME").arg(&script.name).arg("WITHCODE");
    let found: Value = driven(&mut wire.driver, list.query_async(&mut wire.connection)).await?;
    if script.replaces(code(&found).as_deref()) {
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(&script.library);
        let _: Value = driven(&mut wire.driver, load.query_async(&mut wire.connection)).await?;
    }
    Ok(())
}

/// The code of the first library of a list.
fn code(list: &Value) -> Option<String> {
    let libraries = list.as_sequence()?;
    let (_, code) =
        libraries.first()?.as_map_iter()?.find(|(name, _)| text(name).as_deref() == Some("library_code"))?;
    text(code)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}
