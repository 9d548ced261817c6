//! TLS to PostgreSQL: the certificate checks of each `sslmode`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;

use super::DbError;
use super::target::{PostgresTarget, SslMode};

/// Files of the system's root certificates, by distribution.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CertificateCheck {
    Nothing,
    /// The certificate is signed by a trusted authority.
    Authority,
    /// The certificate is signed by a trusted authority and names the host.
    AuthorityAndName,
}

/// Returns the TLS client configuration for this target.
pub(in crate::db) fn client(target: &PostgresTarget) -> Result<ClientConfig, DbError> {
    let verification = match (target.ssl_mode, &target.ssl_root) {
        (SslMode::VerifyFull, _) => CertificateCheck::AuthorityAndName,
        // Like libpq: a root certificate turns `require` into `verify-ca`.
        (SslMode::VerifyCa, _) | (SslMode::Require, Some(_)) => CertificateCheck::Authority,
        (SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require, _) => {
            CertificateCheck::Nothing
        }
    };
    let tls_error = |reason: String| DbError::Tls {
        servers: target.server_names(),
        mode: target.ssl_mode.as_str(),
        reason,
    };
    let provider = Arc::new(ring::default_provider());
    let inner = match verification {
        CertificateCheck::Nothing => None,
        CertificateCheck::Authority | CertificateCheck::AuthorityAndName => {
            let roots = Arc::new(roots(target.ssl_root.as_deref()).map_err(tls_error)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            Some(verifier.map_err(|e| tls_error(e.to_string()))?)
        }
    };
    let verifier = Arc::new(Verifier { verification, inner, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| tls_error(e.to_string()))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let system = || SYSTEM_ROOTS.iter().map(PathBuf::from).find(|p| p.exists());
    let path = file.map(Path::to_owned).or_else(system).ok_or_else(|| {
        format!("none of {} exists; install ca-certificates or set sslrootcert", SYSTEM_ROOTS.join(", "))
    })?;
    let unreadable =
        |e: rustls_pki_types::pem::Error| format!("cannot read root certificates {}: {e}", path.display());
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 { Err(format!("no certificate in {}", path.display())) } else { Ok(roots) }
}

#[derive(Debug)]
struct Verifier {
    verification: CertificateCheck,
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // SECURITY: the name is checked last, so an error about the name means that the chain is valid.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.verification == CertificateCheck::Authority => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
