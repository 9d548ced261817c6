//! Signatures for `jsonwebtoken`, computed by `ring`.

use std::sync::Once;

use jsonwebtoken::crypto::{self, CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // These functions are needed only to convert private keys to JSON, which this program does not do.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Installs the cryptographic provider; without one, `jsonwebtoken` panics at the first signature.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error means that a provider is already installed.
        let _ = PROVIDER.install_default();
    });
}

/// Returns whether `signature`, in base64url, is a valid signature of `message`. It is not valid if the algorithm
/// does not fit the key, or if the signature is not base64url.
pub(in crate::auth) fn is_signed_by(
    key: &DecodingKey,
    algorithm: Algorithm,
    message: &str,
    signature: &str,
) -> bool {
    install();
    key.family() == algorithm.family()
        && crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap_or(false)
}

/// Returns the HMAC-SHA256 of `message` in base64url.
pub(in crate::auth) fn sign(key: &EncodingKey, message: &str) -> Result<String> {
    install();
    crypto::sign(message.as_bytes(), key, Algorithm::HS256)
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    match algorithm {
        Algorithm::HS256 if key.family() == algorithm.family() => {
            Ok(Box::new(HmacSigner(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))))
        }
        _ => Err(Error::from(ErrorKind::InvalidAlgorithm)),
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(Error::from(ErrorKind::InvalidKeyFormat));
    }
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() }))
}

struct HmacSigner(hmac::Key);

impl Signer<Vec<u8>> for HmacSigner {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl JwtSigner for HmacSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl RingVerifier {
    fn is_valid(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::HS256 => self.key.try_get_as_bytes().is_ok_and(|secret| {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), message, signature).is_ok()
            }),
            Algorithm::ES256 => self.is_valid_by(&ECDSA_P256_SHA256_FIXED, message, signature),
            Algorithm::ES384 => self.is_valid_by(&ECDSA_P384_SHA384_FIXED, message, signature),
            Algorithm::EdDSA => self.is_valid_by(&ED25519, message, signature),
            Algorithm::RS256 => self.is_valid_by_rsa(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Algorithm::RS384 => self.is_valid_by_rsa(&RSA_PKCS1_2048_8192_SHA384, message, signature),
            Algorithm::RS512 => self.is_valid_by_rsa(&RSA_PKCS1_2048_8192_SHA512, message, signature),
            Algorithm::PS256 => self.is_valid_by_rsa(&RSA_PSS_2048_8192_SHA256, message, signature),
            Algorithm::PS384 => self.is_valid_by_rsa(&RSA_PSS_2048_8192_SHA384, message, signature),
            Algorithm::PS512 => self.is_valid_by_rsa(&RSA_PSS_2048_8192_SHA512, message, signature),
            _ => false,
        }
    }

    fn is_valid_by(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let verify = |key: &[u8]| UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok();
        self.key.try_get_as_bytes().is_ok_and(verify)
    }

    fn is_valid_by_rsa(&self, parameters: &RsaParameters, message: &[u8], signature: &[u8]) -> bool {
        let DecodingKeyKind::RsaModulusExponent { n, e } = self.key.kind() else { return false };
        // Some providers begin the modulus with a zero byte, which ring refuses.
        let key = RsaPublicKeyComponents { n: without_zeros(n), e: without_zeros(e) };
        key.verify(parameters, message, signature).is_ok()
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        if self.is_valid(message, signature) { Ok(()) } else { Err(signature::Error::new()) }
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
