//! Server-side TLS: reads and checks certificate and key, and replaces them for new connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::server::{ParsedCertificate, ServerConfig};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use base::config::MinimumTls;
use base::model::digest::Sha256;
use base::model::time::{Timestamp, microseconds};

/// A time after the end of all certificates, since the epoch: the year 10000.
const FAR_FUTURE: Duration = Duration::from_secs(253_402_300_800);

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has no PEM of the expected kind.
    #[error("{property} '{}': {reason}", path.display())]
    File {
        /// `HTTPS.Certificate` or `HTTPS.Key`.
        property: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error(
        "HTTPS.Key '{}' does not belong to the first certificate in HTTPS.Certificate '{}': put the server's own \
         certificate first, its chain after it",
        key.display(), certificate.display()
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the certificate in HTTPS.Certificate '{}' {reason}: replace it with a valid one", path.display())]
    NotValid { path: PathBuf, reason: &'static str },
    #[error("could not set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// The certificate, key and protocol versions in use, if any. Clones share it; a replacement is for new connections.
#[derive(Clone, Default)]
pub struct Tls {
    current: Arc<ArcSwapOption<Current>>,
}

struct Current {
    config: Arc<ServerConfig>,
    fingerprint: Sha256,
    /// The end of the validity of the server's own certificate.
    end: Option<Timestamp>,
}

impl Tls {
    /// Reads and checks both PEM files. `MinimumTLS` 1.2 allows 1.2 and 1.3; ALPN offers `h2` and `http/1.1`.
    pub fn open(certificate: &Path, key: &Path, minimum: MinimumTls) -> Result<Tls, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pair = read(certificate, key, &provider)?;
        let leaf = pair.end_entity_cert()?;
        let (fingerprint, end) = (Sha256::of(leaf), end(leaf, &provider));
        let versions: &[_] = match minimum {
            MinimumTls::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            MinimumTls::Tls13 => &[&rustls::version::TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let current = Current { config: Arc::new(config), fingerprint, end };
        Ok(Tls { current: Arc::new(ArcSwapOption::from_pointee(current)) })
    }

    /// Returns the SHA-256 of the server's own certificate, as `openssl x509 -fingerprint -sha256` computes it.
    pub fn fingerprint(&self) -> Option<Sha256> {
        self.current.load().as_ref().map(|current| current.fingerprint)
    }

    /// Returns the end of the validity of the server's own certificate.
    pub fn end(&self) -> Option<Timestamp> {
        self.current.load().as_ref().and_then(|current| current.end)
    }

    pub fn replace(&self, replacement: &Tls) {
        self.current.store(replacement.current.load_full());
    }

    /// Returns the acceptor for the next connection; `None` without a certificate.
    pub fn acceptor(&self) -> Option<tokio_rustls::TlsAcceptor> {
        self.current.load().as_ref().map(|current| Arc::clone(&current.config).into())
    }
}

fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let bad_certificate = |reason: String| TlsError::File {
        property: "HTTPS.Certificate",
        path: certificate.to_owned(),
        reason,
    };
    let bad_key = |reason: String| TlsError::File { property: "HTTPS.Key", path: key.to_owned(), reason };
    let text = read_file(certificate).map_err(bad_certificate)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|e| bad_certificate(format!("is not PEM: {e}")))?;
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(bad_certificate("contains no '-----BEGIN CERTIFICATE-----'".to_owned()));
    };
    check_validity(certificate, leaf, intermediates, provider)?;

    let text = read_file(key).map_err(bad_key)?;
    let private_key = PrivateKeyDer::from_pem_slice(&text).map_err(|e| {
        let is_encrypted = text.windows(9).any(|w| w == b"ENCRYPTED");
        bad_key(if is_encrypted {
            "is protected by a passphrase: write it without one (openssl pkey -in KEY -out NEWKEY), mode 0600"
                .to_owned()
        } else {
            format!("contains no PEM private key: {e}")
        })
    })?;
    CertifiedKey::from_der(chain, private_key, provider).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() }
        }
        other => bad_key(format!(
            "cannot be used: {other}; supported are RSA keys of 2048 to 4096 bits, ECDSA P-256 and P-384, and Ed25519"
        )),
    })
}

/// Reads a PEM file without the byte order mark that some editors write.
fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = std::fs::read(path).map_err(|e| format!("cannot be read: {e}"))?;
    if text.starts_with(b"\xef\xbb\xbf") {
        text.drain(..3);
    }
    Ok(text)
}

/// Returns the end of the validity of a certificate, which rustls states only in its error about an expired one.
fn end(leaf: &CertificateDer<'_>, provider: &CryptoProvider) -> Option<Timestamp> {
    match verify_at(&ParsedCertificate::try_from(leaf).ok()?, &[], FAR_FUTURE, provider) {
        Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ExpiredContext {
            not_after,
            ..
        })) => Some(Timestamp(microseconds(Duration::from_secs(not_after.as_secs())))),
        Ok(()) | Err(_) => None,
    }
}

/// Verifies a certificate at a time. rustls does not expose dates, but with an empty root store reports a wrong date first.
fn verify_at(
    leaf: &ParsedCertificate<'_>,
    intermediates: &[CertificateDer<'_>],
    time: Duration,
    provider: &CryptoProvider,
) -> Result<(), rustls::Error> {
    verify_server_cert_signed_by_trust_anchor(
        leaf,
        &RootCertStore::empty(),
        intermediates,
        UnixTime::since_unix_epoch(time),
        provider.signature_verification_algorithms.all,
    )
}

/// Checks the validity period.
fn check_validity(
    path: &Path,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    provider: &CryptoProvider,
) -> Result<(), TlsError> {
    let parsed = ParsedCertificate::try_from(leaf).map_err(|e| TlsError::File {
        property: "HTTPS.Certificate",
        path: path.to_owned(),
        reason: format!("cannot be used: {e}"),
    })?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let result = verify_at(&parsed, intermediates, now, provider);
    let reason = match result {
        Err(rustls::Error::InvalidCertificate(
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. },
        )) => "has expired",
        Err(rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidYet | rustls::CertificateError::NotValidYetContext { .. },
        )) => "is not valid yet",
        // The signature is checked by clients.
        Ok(()) | Err(_) => return Ok(()),
    };
    Err(TlsError::NotValid { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(dir: &Path, stem: &str, valid: (i32, i32)) -> (PathBuf, PathBuf) {
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a DNS name");
        parameters.not_before = rcgen::date_time_ymd(valid.0, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(valid.1, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let (c, k) = (dir.join(format!("{stem}.crt")), dir.join(format!("{stem}.key")));
        std::fs::write(&c, certificate.pem()).expect("written");
        std::fs::write(&k, key.serialize_pem()).expect("written");
        (c, k)
    }

    fn failure(certificate: &Path, key: &Path) -> String {
        Tls::open(certificate, key, MinimumTls::Tls12).err().expect("refused").to_string()
    }

    #[test]
    fn a_good_pair_is_accepted_and_each_fault_is_reported() {
        let dir = tempfile::tempdir().expect("a directory");
        let (certificate, key) = pair(dir.path(), "good", (2020, 4000));
        let tls = Tls::open(&certificate, &key, MinimumTls::Tls13).expect("a good pair");
        assert!(tls.acceptor().is_some() && Tls::default().acceptor().is_none());
        let end = tls.end().map(|end| end.to_string());
        assert_eq!((end.as_deref(), Tls::default().end()), (Some("4000-01-01T00:00:00Z"), None));

        let (_, other_key) = pair(dir.path(), "other", (2020, 4000));
        assert!(failure(&certificate, &other_key).contains("does not belong to"));
        let (expired_certificate, expired_key) = pair(dir.path(), "expired", (2000, 2001));
        assert!(failure(&expired_certificate, &expired_key).contains("has expired"));
        let (future_certificate, future_key) = pair(dir.path(), "future", (3000, 3001));
        assert!(failure(&future_certificate, &future_key).contains("is not valid yet"));
        assert!(failure(&dir.path().join("none"), &key).contains("cannot be read"));
        assert!(failure(&key, &key).contains("contains no '-----BEGIN CERTIFICATE-----'"));
        assert!(failure(&certificate, &certificate).contains("contains no PEM private key"));
        let encrypted_key = dir.path().join("encrypted.key");
        std::fs::write(
            &encrypted_key,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        )
        .expect("written");
        assert!(failure(&certificate, &encrypted_key).contains("passphrase"));
        let ed448_key = dir.path().join("ed448.key");
        std::fs::write(
            &ed448_key,
            "-----BEGIN PRIVATE KEY-----\nMEcCAQAwBQYDK2VxBDsEOQBq7PcxK/fQwS9/G/tXhZsYPFa1BtDI5tQgCmKZmEEq\n\
             OeJ5u9ca/qJglOCgYbEkZk2VmLIQpdgilg==\n-----END PRIVATE KEY-----\n",
        )
        .expect("written");
        let text = failure(&certificate, &ed448_key);
        assert!(
            text.contains("cannot be used: ") && text.contains("RSA keys of 2048 to 4096 bits"),
            "{text}"
        );
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_pem_text() {
        let dir = tempfile::tempdir().expect("a directory");
        let (certificate, key) = pair(dir.path(), "good", (2020, 4000));
        for path in [&certificate, &key] {
            let text = std::fs::read_to_string(path).expect("it was written");
            std::fs::write(path, format!("\u{feff}{text}")).expect("written");
        }
        Tls::open(&certificate, &key, MinimumTls::Tls12).expect("a good pair");
    }

    #[test]
    fn a_replaced_pair_is_used_by_all_that_share_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (certificate, key) = pair(dir.path(), "good", (2020, 4000));
        let listener = Tls::default();
        let shared = listener.clone();
        listener.replace(&Tls::open(&certificate, &key, MinimumTls::Tls12).expect("a good pair"));
        let old = shared.current.load_full().expect("there is one now");
        shared.replace(&Tls::open(&certificate, &key, MinimumTls::Tls13).expect("a good pair"));
        let new = listener.current.load_full().expect("there is one");
        assert!(!Arc::ptr_eq(&old, &new));
    }
}
