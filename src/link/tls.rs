//! TLS towards Redis: whom we trust, who we are, and what to write where that does not fit.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::link::address::Place;
use crate::link::certificate::{Ends, end};
use crate::link::files;
use crate::repeat::Repeats;
use crate::settings;

/// Makes encrypted connections, with what stands in the files at that time. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: Files,
    current: ArcSwap<Current>,
    ends: Ends,
    unread: Repeats,
}

/// What a handshake goes by.
struct Current {
    contents: Contents,
    connector: TlsConnector,
}

/// `redis.ca`, `redis.cert` and `redis.key`; empty where they are not set.
struct Files([String; 3]);

/// What stands in them; nothing where they are not set.
type Contents = [Option<Vec<u8>>; 3];

/// Why there can be none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {path:?}: {why}")]
pub struct BadTls {
    key: &'static str,
    path: String,
    why: String,
}

impl Tls {
    /// Trusts `redis.ca`, or where that is not set whom this machine trusts; shows `redis.cert`, if set.
    ///
    /// # Errors
    /// A file that cannot be used, and what belongs into it.
    pub fn load(config: &settings::Redis) -> Result<Self, BadTls> {
        let files = Files([config.ca.clone(), config.cert.clone(), config.key.clone()]);
        let contents = files.at_start()?;
        let (connector, own) = files.connector(&contents)?;
        let current = ArcSwap::from_pointee(Current { contents, connector });
        Ok(Self(Arc::new(Shared { files, current, ends: Ends::with(own), unread: Repeats::new() })))
    }

    /// Shakes hands with the server at `place`, which `host` names.
    pub(super) async fn wrap(
        &self,
        place: &Place,
        host: &str,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let connector = self.0.current.load().connector.clone();
        let socket = connector.connect(name, socket).await.map_err(|error| explained(host, &error))?;
        if let Some(chain) = socket.get_ref().1.peer_certificates() {
            self.0.ends.note(place.to_string(), chain);
        }
        Ok(socket)
    }

    /// Takes what has changed in the files. What cannot be used leaves what was read before, as it is while a
    /// certificate is new and its key is not yet, and is told once a minute.
    pub(super) async fn refresh(&self) {
        let Shared { files, current, ends, unread } = &*self.0;
        match files.changed(&current.load().contents).await {
            Ok(None) => unread.over(),
            Ok(Some((contents, connector, own))) => {
                unread.over();
                ends.renew(own);
                current.store(Arc::new(Current { contents, connector }));
                tracing::info!("redis.ca, redis.cert or redis.key has changed; dials use what it holds now");
            }
            Err(why) => {
                if let Some(more) = unread.due(()) {
                    tracing::warn!(%why, more, "certificates towards Redis cannot be read again; those read before are used");
                }
            }
        }
    }

    /// When the first of the certificates ends, ours and those that the servers showed, in seconds since 1970.
    #[must_use]
    pub fn first_end(&self) -> Option<i64> {
        self.0.ends.first()
    }
}

impl Files {
    const KEYS: [&str; 3] = ["redis.ca", "redis.cert", "redis.key"];

    fn at_start(&self) -> Result<Contents, BadTls> {
        let mut contents = Contents::default();
        for ((path, key), content) in self.0.iter().zip(Self::KEYS).zip(&mut contents) {
            if !path.is_empty() {
                *content = Some(std::fs::read(path).map_err(|error| unfit(key, path, error))?);
            }
        }
        Ok(contents)
    }

    /// What differs from `known`, made ready.
    async fn changed(&self, known: &Contents) -> Result<Option<(Contents, TlsConnector, Option<i64>)>, String> {
        let set: Vec<usize> = (0..self.0.len()).filter(|&file| !self.0[file].is_empty()).collect();
        if set.is_empty() {
            return Ok(None);
        }
        let mut contents = known.clone();
        let found = files::read(set.iter().map(|&file| self.0[file].clone().into()).collect()).await?;
        for (file, content) in set.into_iter().zip(found) {
            contents[file] = content.or_else(|| known[file].clone());
        }
        if contents == *known {
            return Ok(None);
        }
        let (connector, own) = self.connector(&contents).map_err(|bad| bad.to_string())?;
        Ok(Some((contents, connector, own)))
    }

    /// What makes connections, and when our own certificate ends.
    fn connector(&self, [ca, cert, key]: &Contents) -> Result<(TlsConnector, Option<i64>), BadTls> {
        let [ca_path, cert_path, key_path] = &self.0;
        let roots = ca.as_ref().map_or_else(machine_roots, |content| own_roots(ca_path, content))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit("redis.url", "rediss://…", error))?
            .with_root_certificates(roots);
        let mut own = None;
        let config = match (cert, key) {
            (None, None) => builder.with_no_client_auth(),
            (None, _) => return Err(unfit("redis.key", key_path, "a key without redis.cert; set that too")),
            (_, None) => return Err(unfit("redis.cert", cert_path, "a certificate without redis.key; set that too")),
            (Some(cert), Some(key)) => {
                let chain = certificates("redis.cert", cert_path, cert)?;
                own = end(&chain);
                let fits = builder.with_client_auth_cert(chain, secret(key_path, key)?);
                fits.map_err(|error| {
                    unfit("redis.cert", cert_path, format_args!("it does not fit redis.key: {error}"))
                })?
            }
        };
        Ok((TlsConnector::from(Arc::new(config)), own))
    }
}

fn unfit(key: &'static str, path: &str, why: impl fmt::Display) -> BadTls {
    BadTls { key, path: path.into(), why: why.to_string() }
}

fn secret(path: &str, content: &[u8]) -> Result<PrivateKeyDer<'static>, BadTls> {
    PrivateKeyDer::from_pem_slice(content).map_err(|error| {
        unfit("redis.key", path, format_args!("no private key in PEM (-----BEGIN PRIVATE KEY-----): {error}"))
    })
}

fn certificates(key: &'static str, path: &str, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let wrong = |error: &dyn fmt::Display| {
        unfit(key, path, format_args!("no certificates in PEM (-----BEGIN CERTIFICATE-----): {error}"))
    };
    let found =
        CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))?;
    if found.is_empty() { Err(wrong(&"there is none in it")) } else { Ok(found) }
}

fn own_roots(path: &str, content: &[u8]) -> Result<RootCertStore, BadTls> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("redis.ca", path, content)? {
        roots.add(certificate).map_err(|error| unfit("redis.ca", path, error))?;
    }
    Ok(roots)
}

fn machine_roots() -> Result<RootCertStore, BadTls> {
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match good {
        0 => {
            Err(unfit("redis.ca", "", "this machine trusts no CA; install ca-certificates, or set redis.ca to a file"))
        }
        _ => Ok(roots),
    }
}

/// What the handshake says, and what mends it.
fn explained(host: &str, error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let mend = match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "nobody whom we trust signed its certificate; set redis.ca to the file of the CA that did".into()
        }
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => format!("its certificate is not made out for {host}; use a name in redis.url that it is made out for"),
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "its certificate has expired; renew it".into(),
        Some(rustls::Error::InvalidMessage(_)) => {
            "it speaks no TLS on this port; write redis:// or its TLS port".into()
        }
        _ => return format!("no TLS: {error}"),
    };
    format!("no TLS: {error}: {mend}")
}

/// What a server that hangs up after the handshake says, and what mends it: only then does it judge our own
/// certificate. None where it is not TLS that it hangs up for.
pub(super) fn alerted(error: &str) -> Option<String> {
    let mend = match error {
        error if !error.contains("received fatal alert") => return None,
        error if error.contains("CertificateExpired") => "redis.cert has expired; renew it",
        error if error.contains("CertificateRevoked") => "redis.cert was revoked; have a new one made",
        error if error.contains("UnknownCA") => {
            "it does not trust the CA of redis.cert; add that to its tls-ca-cert-file"
        }
        error if error.contains("CertificateRequired") => {
            "it wants a certificate of ours; set redis.cert and redis.key"
        }
        error => return Some(error.into()),
    };
    Some(format!("{error}: {mend}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(ca: &str, cert: &str, key: &str) -> Result<(), String> {
        let config = settings::Redis { ca: ca.into(), cert: cert.into(), key: key.into(), ..Default::default() };
        Tls::load(&config).map(drop).map_err(|bad| bad.to_string())
    }

    #[test]
    fn files_that_do_not_fit_are_named_with_what_belongs_into_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("empty"), "").unwrap();
        for (ca, cert, key, told) in [
            (path("none"), String::new(), String::new(), "redis.ca = "),
            (path("empty"), String::new(), String::new(), "there is none in it"),
            (String::new(), path("empty"), String::new(), "a certificate without redis.key"),
            (String::new(), String::new(), path("empty"), "a key without redis.cert"),
        ] {
            let bad = loaded(&ca, &cert, &key).unwrap_err();
            assert!(bad.contains(told), "{bad}");
        }
    }

    #[tokio::test]
    async fn certificates_that_change_are_taken_and_ones_that_cannot_be_used_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let make = |year| {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec!["us".into()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        let (old, new) = (make(2090), make(2091));
        [("ca", &old.0), ("cert", &old.0), ("key", &old.1)].iter().for_each(|(name, text)| write(name, text));
        let (ca, cert, key) = (path("ca"), path("cert"), path("key"));
        let tls = Tls::load(&settings::Redis { ca, cert, key, ..Default::default() }).unwrap();
        let before = tls.first_end().unwrap();
        let kept = tls.0.current.load_full();
        tls.refresh().await;
        assert!(Arc::ptr_eq(&kept, &tls.0.current.load()), "nothing has changed");
        for (name, text) in [("cert", new.0.as_str()), ("ca", ""), ("key", "no key")] {
            write(name, text);
            tls.refresh().await;
            assert!(Arc::ptr_eq(&kept, &tls.0.current.load()), "{name}");
        }
        std::fs::remove_file(path("ca")).unwrap();
        tls.refresh().await;
        assert_eq!((tls.first_end(), tls.0.unread.due(())), (Some(before), None), "it was told");
        [("ca", &new.0), ("key", &new.1)].iter().for_each(|(name, text)| write(name, text));
        tls.refresh().await;
        assert_eq!(tls.first_end().unwrap() - before, 365 * 86_400);
        assert_eq!(tls.0.unread.due(()), Some(0), "it is over");
    }
}
