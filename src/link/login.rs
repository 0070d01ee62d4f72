//! Who we are at a server. What stands in a file is read again at each dial, so that a password may change while we run.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::link::address::Address;
use crate::link::files;
use crate::repeat::Repeats;
use crate::settings::{self, Secret};

/// A user and what proves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    /// None: the default user.
    pub username: Option<String>,
    /// None: it needs none.
    pub password: Option<Secret>,
}

/// Who we are in one place.
#[derive(Default)]
pub struct Login {
    /// Which database; pub/sub does not care.
    pub(super) db: i64,
    /// What was read last; locked for one look.
    last: Mutex<Credentials>,
    file: Option<Source>,
    unread: Repeats,
}

/// What a file's content says.
type Read = dyn Fn(&str) -> Result<Credentials, String> + Send + Sync;

/// Where credentials are read again.
struct Source {
    /// The key that names the file.
    key: &'static str,
    path: Arc<Path>,
    read: Box<Read>,
}

impl Login {
    /// At the `number`th Redis of these settings. What the URL leaves open stands in keys of its own, so that a
    /// password need not be in a URL.
    pub(super) fn at_redis(config: &settings::Redis, address: &Address, number: usize) -> Self {
        let (own, rest) = (address.clone(), config.clone());
        let last = Credentials::of(address, config);
        let file = match (&address.password, config.url.file(), config.password.file()) {
            (Some(_), Some(path), _) => Some(Source {
                key: "redis.url_file",
                path: path.clone(),
                read: Box::new(move |content| {
                    let all = Address::parse_all(content.trim()).map_err(|bad| bad.to_string())?;
                    let found = all.get(number).filter(|found| found.leads_as(&own));
                    let found = found.ok_or("it leads elsewhere than when this replica started; restart it")?;
                    Ok(Credentials::of(found, &rest))
                }),
            }),
            (None, _, Some(path)) => Some(Source::of_password("redis.password_file", path, last.username.clone())),
            _ => None,
        };
        Self { db: address.db, last: Mutex::new(last), file, unread: Repeats::new() }
    }

    /// At the Sentinels of these settings.
    pub(super) fn at_sentinel(config: &settings::Redis) -> Self {
        let (username, password) = (set(&config.sentinel_username), &config.sentinel_password);
        let source = |path| Source::of_password("redis.sentinel_password_file", path, username.clone());
        let file = password.file().map(source);
        let password = Some(password.clone()).filter(|password| !password.is_empty());
        Self { db: 0, last: Mutex::new(Credentials { username, password }), file, unread: Repeats::new() }
    }

    /// As it is now. A file that cannot be used leaves what was read before, and is told once a minute.
    pub(super) async fn now(&self) -> Credentials {
        if let Some(source) = &self.file {
            match source.fresh().await {
                Ok(Some(fresh)) => self.renew(source, fresh),
                Ok(None) => {}
                Err(why) => {
                    if let Some(more) = self.unread.due(()) {
                        let Source { key, path, .. } = source;
                        tracing::warn!(key, path = %path.display(), %why, more, "no password in the file; the last one is used");
                    }
                }
            }
        }
        self.last()
    }

    /// As it was read last.
    pub(super) fn last(&self) -> Credentials {
        self.last.lock().clone()
    }

    fn renew(&self, source: &Source, fresh: Credentials) {
        self.unread.over();
        let mut last = self.last.lock();
        if *last != fresh {
            *last = fresh;
            tracing::info!(key = source.key, "the password has changed in its file; dials use the new one");
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Login").field(&self.last()).finish()
    }
}

impl Source {
    fn of_password(key: &'static str, path: &Arc<Path>, username: Option<String>) -> Self {
        let read = move |content: &str| {
            let password = Secret::in_content(content).ok_or("the file is empty")?;
            Ok(Credentials { username: username.clone(), password: Some(Secret::new(password)) })
        };
        Self { key, path: path.clone(), read: Box::new(read) }
    }

    /// What the file says now; nothing where it is no file any more.
    async fn fresh(&self) -> Result<Option<Credentials>, String> {
        let found = files::read(vec![self.path.to_path_buf()]).await?.pop().flatten();
        let Some(content) = found else { return Ok(None) };
        let content = String::from_utf8(content).map_err(|_| "it is no text in UTF-8")?;
        (self.read)(&content).map(Some)
    }
}

impl Credentials {
    fn of(address: &Address, config: &settings::Redis) -> Self {
        let own = || Some(Secret::new(config.password.reveal())).filter(|own| !own.is_empty());
        Self {
            username: address.username.clone().or_else(|| set(&config.username)),
            password: address.password.clone().or_else(own),
        }
    }
}

fn set(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(login: &Login) -> (String, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let Credentials { username, password } = runtime.block_on(login.now());
        (username.unwrap_or_default(), password.map(|password| password.reveal().to_owned()).unwrap_or_default())
    }

    fn pair(username: &str, password: &str) -> (String, String) {
        (username.into(), password.into())
    }

    #[test]
    fn a_password_that_changes_in_its_file_is_the_next_dials_and_one_that_is_gone_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "old\n").unwrap();
        let password = Secret::new("old").standing_in(&path);
        let config = settings::Redis { username: "ada".into(), password, ..Default::default() };
        let address = Address::parse_all("redis://h").unwrap().remove(0);
        let login = Login::at_redis(&config, &address, 0);
        assert_eq!(read(&login), pair("ada", "old"));
        std::fs::write(&path, "new\r\n").unwrap();
        assert_eq!(read(&login), pair("ada", "new"));
        for bad in [&b""[..], b"\n", b"\xff"] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(read(&login), pair("ada", "new"), "{bad:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(&login), pair("ada", "new"));
        assert_eq!(login.unread.due(()), None, "it was told, and is not again for a minute");
        let sentinel = Login::at_sentinel(&settings::Redis {
            sentinel_password: Secret::new("old").standing_in(&path),
            ..Default::default()
        });
        std::fs::write(&path, "newer").unwrap();
        assert_eq!(read(&sentinel), pair("", "newer"));
        assert_eq!(read(&login), pair("ada", "newer"));
    }

    #[test]
    fn credentials_of_a_url_in_a_file_change_and_its_address_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("url");
        let before = "redis://a,redis://ada:old@b";
        std::fs::write(&path, before).unwrap();
        let config = settings::Redis { url: Secret::new(before).standing_in(&path), ..Default::default() };
        let address = Address::parse_all(before).unwrap().remove(1);
        let login = Login::at_redis(&config, &address, 1);
        assert_eq!(read(&login), pair("ada", "old"));
        std::fs::write(&path, "redis://a,redis://bob:new@b\n").unwrap();
        assert_eq!(read(&login), pair("bob", "new"));
        for elsewhere in ["redis://a,redis://eve:x@c", "redis://eve:x@b", "rediss://a,rediss://eve:x@b", "no url"] {
            std::fs::write(&path, elsewhere).unwrap();
            assert_eq!(read(&login), pair("bob", "new"), "{elsewhere}");
        }
    }
}
