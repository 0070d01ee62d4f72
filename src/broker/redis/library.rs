//! The library by which producers publish with a history of their own accord: `FCALL fanline_publish`. It is brought to
//! every master that the canaries meet, where it is missing, older, or made for other settings; a newer one stays.

use std::sync::atomic::{AtomicBool, Ordering};

use redis::{RedisError, Value};

use super::history::Histories;
use super::script::LIBRARY;
use crate::link::connect::{Role, Wire, driven};

/// The oldest server that has functions.
const OLDEST: (u32, u32) = (7, 0);

/// Brings it to one master, where topics keep histories at all.
pub(super) async fn bring(wire: &mut Wire, histories: &Histories) {
    static SAID: AtomicBool = AtomicBool::new(false);
    let able = wire.server.role == Role::Master && wire.server.numbers().is_none_or(|version| version >= OLDEST);
    if !able || !histories.any() {
        return;
    }
    match load(wire, histories).await {
        Ok(()) => SAID.store(false, Ordering::Relaxed),
        // Only producers that call it miss it; a replica's own publications go by EVALSHA.
        Err(error) if !SAID.swap(true, Ordering::Relaxed) => {
            tracing::info!(redis = %wire.place, %error, "FCALL fanline_publish cannot be offered to producers");
        }
        Err(_) => {}
    }
}

async fn load(wire: &mut Wire, histories: &Histories) -> Result<(), RedisError> {
    let mut list = redis::cmd("FUNCTION");
    list.arg("LIST").arg("LIBRARYNAME").arg(LIBRARY).arg("WITHCODE");
    let found: Value = driven(&mut wire.driver, list.query_async(&mut wire.connection)).await?;
    let script = histories.script();
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
