//! Generated certificates, and a blocking HTTPS client that trusts one of them.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, SupportedProtocolVersion,
};

use super::http::{self, Answer};

/// A self-signed certificate for `localhost` and 127.0.0.1, and its key, as PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pair {
    /// A pair that is valid now.
    pub(crate) fn new() -> Pair {
        Pair::of(Pair::params())
    }

    /// A pair whose certificate expired years ago.
    pub(crate) fn expired() -> Pair {
        let mut params = Pair::params();
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        Pair::of(params)
    }

    fn params() -> CertificateParams {
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names")
    }

    fn of(params: CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes `server.crt` and `server.key`.
    pub(crate) fn write(&self, dir: &Path) {
        std::fs::write(dir.join("server.crt"), &self.certificate).expect("written");
        std::fs::write(dir.join("server.key"), &self.key).expect("written");
    }

    /// The certificate as DER, for clients to trust.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }

    /// The configuration of a server with this pair.
    pub(crate) fn server_config(&self) -> ServerConfig {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.der()], key)
            .expect("a pair")
    }

    /// GET by a client that trusts this certificate and supports these TLS versions.
    pub(crate) fn get(
        &self,
        host: &str,
        versions: &[&'static SupportedProtocolVersion],
        path: &str,
    ) -> std::io::Result<Answer> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut stream = StreamOwned::new(connection, TcpStream::connect(host)?);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        http::try_read(&mut stream, "GET")
    }
}
