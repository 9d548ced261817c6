//! Signed requests for the first token. The client signs the request with a private RSA key, and only the owner of
//! this key can decrypt the response. RSASSA-PSS and RSAES-OAEP (RFC 8017), each with SHA-256.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::SysRng;
use rsa::Oaep;
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::pss::{Signature, SigningKey, VerifyingKey};
use rsa::sha2::Sha256;
use rsa::signature::{RandomizedSigner, SignatureEncoding, Verifier};
use rsa::traits::PublicKeyParts;
use zeroize::Zeroizing;

/// Length of a new key, in bits.
const BITS: usize = 2048;
/// Length of keys that are accepted, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 256..=512;
/// The first line of the signed text.
const LABEL: &str = "rstudio-pm bootstrap 1";

/// An error about a key or a message. Its text contains neither of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    #[error("it is not an RSA public key: the file that rspm bootstrap keys wrote, or its text in one line")]
    PublicKey,
    #[error("it is not an RSA private key without a passphrase in PEM format")]
    PrivateKey,
    #[error("an RSA key for bootstrapping must have 2048 to 4096 bits; this one has {0}")]
    Length(usize),
    /// No key could be generated, or the operating system provides no random numbers.
    #[error("the key could not be generated")]
    Generation,
    #[error("the signature is not that of the configured key")]
    Signature,
    #[error("the response is not encrypted for this key")]
    Encryption,
}

/// The key in `Bootstrap.PublicKey`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(rsa::PublicKey);

/// The key of the client. `Debug` prints no part of it.
pub struct PrivateKey(rsa::PrivateKey);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey")
    }
}

/// The signed content: three texts of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The time of the request, RFC 3339.
    pub time: &'a str,
    pub nonce: &'a str,
    /// The lifetime of the token in seconds, or `never`.
    pub lifetime: &'a str,
}

impl Statement<'_> {
    /// Returns the text that is signed: four lines.
    fn message(self) -> Vec<u8> {
        format!("{LABEL}\n{}\n{}\n{}\n", self.time, self.nonce, self.lifetime).into_bytes()
    }
}

impl PublicKey {
    /// Reads a key: PEM (`PUBLIC KEY`, `RSA PUBLIC KEY`), or only the base64 text of one.
    ///
    /// # Errors
    /// The text is not an RSA key of 2048 to 4096 bits.
    pub fn parse(text: &str) -> Result<PublicKey, BootstrapError> {
        let text = text.trim();
        let key = if text.starts_with("-----") {
            rsa::PublicKey::from_public_key_pem(text)
                .ok()
                .or_else(|| rsa::PublicKey::from_pkcs1_pem(text).ok())
        } else {
            let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            let bytes = STANDARD.decode(digits).map_err(|_| BootstrapError::PublicKey)?;
            rsa::PublicKey::from_public_key_der(&bytes)
                .ok()
                .or_else(|| rsa::PublicKey::from_pkcs1_der(&bytes).ok())
        };
        let key = key.ok_or(BootstrapError::PublicKey)?;
        if LENGTHS.contains(&key.size()) {
            Ok(PublicKey(key))
        } else {
            Err(BootstrapError::Length(8 * key.size()))
        }
    }

    /// Checks that the owner of the key signed a statement.
    pub fn verify(&self, statement: Statement<'_>, signature: &[u8]) -> Result<(), BootstrapError> {
        let signature = Signature::try_from(signature).map_err(|_| BootstrapError::Signature)?;
        VerifyingKey::<Sha256>::new(self.0.clone())
            .verify(&statement.message(), &signature)
            .map_err(|_| BootstrapError::Signature)
    }

    /// Encrypts a text of at most 190 bytes for the owner of the key.
    pub fn encrypt(&self, text: &str) -> Result<Vec<u8>, BootstrapError> {
        self.0
            .encrypt(&mut SysRng, Oaep::<Sha256>::new(), text.as_bytes())
            .map_err(|_| BootstrapError::Encryption)
    }
}

impl PrivateKey {
    pub fn generate() -> Result<PrivateKey, BootstrapError> {
        rsa::PrivateKey::new(&mut SysRng, BITS).map(PrivateKey).map_err(|_| BootstrapError::Generation)
    }

    /// Reads a key: PEM (`PRIVATE KEY`, `RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// The text is not an RSA key without a passphrase.
    pub fn parse(text: &str) -> Result<PrivateKey, BootstrapError> {
        let text = text.trim();
        let key =
            rsa::PrivateKey::from_pkcs8_pem(text).ok().or_else(|| rsa::PrivateKey::from_pkcs1_pem(text).ok());
        key.map(PrivateKey).ok_or(BootstrapError::PrivateKey)
    }

    /// Returns the PEM texts of the private and the public key.
    pub fn texts(&self) -> Result<(Zeroizing<String>, String), BootstrapError> {
        let private = self.0.to_pkcs8_pem(LineEnding::LF).map_err(|_| BootstrapError::PrivateKey)?;
        let public = self.0.to_public_key().to_public_key_pem(LineEnding::LF);
        Ok((private, public.map_err(|_| BootstrapError::PublicKey)?))
    }

    pub fn sign(&self, statement: Statement<'_>) -> Result<Vec<u8>, BootstrapError> {
        let key = SigningKey::<Sha256>::new(self.0.clone());
        let signature = key.try_sign_with_rng(&mut SysRng, &statement.message());
        signature.map(|signature| signature.to_vec()).map_err(|_| BootstrapError::PrivateKey)
    }

    /// Decrypts the response of the server.
    pub fn decrypt(&self, bytes: &[u8]) -> Result<Zeroizing<String>, BootstrapError> {
        let text = self.0.decrypt_blinded(&mut SysRng, Oaep::<Sha256>::new(), bytes);
        let text = text.map_err(|_| BootstrapError::Encryption)?;
        String::from_utf8(text).map(Zeroizing::new).map_err(|_| BootstrapError::Encryption)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_the_key_signs_and_reads_the_response() {
        let key = PrivateKey::generate().expect("a key");
        let (private, public) = key.texts().expect("texts");
        assert!(private.starts_with("-----BEGIN PRIVATE KEY-----"));
        let again = PrivateKey::parse(&private).expect("read back");
        let public = PublicKey::parse(&public).expect("a public key");
        let statement = Statement { time: "2026-11-23T00:00:00Z", nonce: "nonce", lifetime: "never" };
        let signature = again.sign(statement).expect("signed");
        assert_eq!(public.verify(statement, &signature), Ok(()));
        for other in [
            Statement { time: "2026-11-23T00:00:01Z", ..statement },
            Statement { nonce: "other", ..statement },
            Statement { lifetime: "60", ..statement },
        ] {
            assert_eq!(public.verify(other, &signature), Err(BootstrapError::Signature));
        }
        assert_eq!(public.verify(statement, b""), Err(BootstrapError::Signature));
        let encrypted = public.encrypt("a token").expect("encrypted");
        assert_eq!(key.decrypt(&encrypted).expect("decrypted").as_str(), "a token");
        assert_eq!(key.decrypt(b"x"), Err(BootstrapError::Encryption));
        assert_eq!(format!("{key:?}"), "PrivateKey");
    }

    #[test]
    fn a_public_key_is_a_pem_file_or_its_text_in_one_line() {
        let (_, pem) = PrivateKey::generate().expect("a key").texts().expect("texts");
        let line: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
        assert_eq!(PublicKey::parse(&pem), PublicKey::parse(&line));
        assert!(PublicKey::parse(&line).is_ok());
        for bad in ["", "x", "AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"] {
            assert_eq!(PublicKey::parse(bad), Err(BootstrapError::PublicKey), "{bad}");
        }
        assert!(PrivateKey::parse(&pem).is_err());
    }
}
