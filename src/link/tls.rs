//! TLS towards Redis: whom we trust, who we are, and what to write where that does not fit.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::link::address::Place;
use crate::link::certificate::{Ends, end};
use crate::settings;

/// Makes encrypted connections.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    ends: Arc<Ends>,
}

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
        let settings::Redis { ca, cert, key, .. } = config;
        let roots = if ca.is_empty() { machine_roots()? } else { own_roots(ca)? };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit("redis.url", "rediss://…", error))?
            .with_root_certificates(roots);
        let mut own = None;
        let config = match (cert.as_str(), key.as_str()) {
            ("", "") => builder.with_no_client_auth(),
            ("", path) => return Err(unfit("redis.key", path, "a key without redis.cert; set that too")),
            (path, "") => return Err(unfit("redis.cert", path, "a certificate without redis.key; set that too")),
            (cert, key) => {
                let chain = certificates("redis.cert", cert)?;
                own = end(&chain);
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                    unfit(
                        "redis.key",
                        key,
                        format_args!("no private key in PEM (-----BEGIN PRIVATE KEY-----): {error}"),
                    )
                })?;
                let fits = builder.with_client_auth_cert(chain, secret);
                fits.map_err(|error| unfit("redis.cert", cert, format_args!("it does not fit redis.key: {error}")))?
            }
        };
        let ends = Arc::new(Ends::with(own));
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), ends })
    }

    /// Shakes hands with the server at `place`, which `host` names.
    pub(super) async fn wrap(
        &self,
        place: &Place,
        host: &str,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let socket = self.connector.connect(name, socket).await.map_err(|error| explained(host, &error))?;
        if let Some(chain) = socket.get_ref().1.peer_certificates() {
            self.ends.note(place.to_string(), chain);
        }
        Ok(socket)
    }

    /// When the first of the certificates ends, ours and those that the servers showed, in seconds since 1970.
    #[must_use]
    pub fn first_end(&self) -> Option<i64> {
        self.ends.first()
    }
}

fn unfit(key: &'static str, path: &str, why: impl fmt::Display) -> BadTls {
    BadTls { key, path: path.into(), why: why.to_string() }
}

fn certificates(key: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let wrong = |error: &dyn fmt::Display| {
        unfit(key, path, format_args!("no certificates in PEM (-----BEGIN CERTIFICATE-----): {error}"))
    };
    let found = CertificateDer::pem_file_iter(Path::new(path)).map_err(|error| wrong(&error))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))?;
    if found.is_empty() { Err(wrong(&"there is none in it")) } else { Ok(found) }
}

fn own_roots(path: &str) -> Result<RootCertStore, BadTls> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("redis.ca", path)? {
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
}
