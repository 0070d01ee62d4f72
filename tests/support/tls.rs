//! A CA of the test's own, a server's certificate and a client's, in files.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use super::redis::{RedisServer, free_port};

/// When the certificate of a client ends, in seconds since 1970: 2095 begins.
pub const CLIENT_ENDS: f64 = 3944678400.0;
/// When that of a server does: 2096 begins.
pub const SERVER_ENDS: f64 = 3976214400.0;

/// Files that go when this is dropped.
pub struct Certificates {
    dir: TempDir,
}

impl Certificates {
    /// The server's is made out for 127.0.0.1 and localhost.
    pub fn make() -> Self {
        let certificates = Self { dir: tempfile::tempdir().unwrap() };
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // One with the name of those it signs would pass for one of them.
        params.distinguished_name.push(DnType::CommonName, format!("a CA of the tests, {}", fastrand::u64(..)));
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        certificates.write("ca.pem", &ca.pem());
        let (server, client) = (vec!["127.0.0.1".into(), "localhost".into()], vec!["us".into()]);
        for (name, hosts, until) in
            [("server", server, 2096), ("client", client.clone(), 2095), ("expired", client, 2001)]
        {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(hosts).unwrap();
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            let certificate = params.signed_by(&key, &ca).unwrap();
            certificates.write(&format!("{name}.pem"), &certificate.pem());
            certificates.write(&format!("{name}.key"), &key.serialize_pem());
        }
        certificates
    }

    /// The path of `ca.pem`, or of `client`, `expired` (a client's, too) or `server` with `.pem` or `.key`.
    pub fn path(&self, name: &str) -> String {
        let path: PathBuf = self.dir.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// Starts a server with a port for TLS beside the plain one; `auth`: whether clients show a certificate.
    pub fn server(&self, auth: &str) -> Option<(RedisServer, u16)> {
        self.server_as("server", auth)
    }

    /// The same with another's certificate, `client` say.
    pub fn server_as(&self, name: &str, auth: &str) -> Option<(RedisServer, u16)> {
        self.server_with(name, auth, &[])
    }

    /// The same with more arguments.
    pub fn server_with(&self, name: &str, auth: &str, more: &[&str]) -> Option<(RedisServer, u16)> {
        let port = free_port();
        let args = [
            "--tls-port",
            &port.to_string(),
            "--tls-ca-cert-file",
            &self.path("ca.pem"),
            "--tls-cert-file",
            &self.path(&format!("{name}.pem")),
            "--tls-key-file",
            &self.path(&format!("{name}.key")),
            "--tls-auth-clients",
            auth,
        ];
        Some((RedisServer::start_with(&[&args[..], more].concat())?, port))
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}
