//! Private keys of SSH: reads the files of OpenSSH (`openssh-key-v1`, PROTOCOL.key of OpenSSH) and of OpenSSL (PKCS #1
//! and PKCS #8), decrypts them, and signs.

use aes::Aes256;
use aes::cipher::{KeyIvInit, StreamCipher};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use num_bigint::BigUint;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Reader, put_integer, put_string};

/// First bytes of a key in OpenSSH's format.
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// Block length of an unencrypted key, in bytes.
const BLOCK: usize = 8;
/// Maximum number of rounds of the key derivation, which take several seconds. OpenSSH uses 16 or 24.
const MAX_ROUNDS: u32 = 512;
/// Flags of a request to sign with an RSA key, which select the hash (draft-miller-ssh-agent, section 3.6.1).
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// The reason why a file cannot be used as a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::build) enum KeyError {
    #[error("the file is not a private key of OpenSSH; it begins with -----BEGIN OPENSSH PRIVATE KEY-----")]
    Format,
    #[error("the file is a public key; import the private key, the file of the same name without .pub")]
    Public,
    #[error("the key is encrypted; name a file with its passphrase: --passphrase-path")]
    Encrypted,
    #[error("the passphrase is wrong")]
    Passphrase,
    /// A file format that is not supported, such as an old encrypted PEM file.
    #[error("this form of a key is not supported; convert it to that of OpenSSH: ssh-keygen -p -f FILE")]
    Form,
    /// An algorithm or a length that is not supported.
    #[error(
        "keys of this type are not supported; use Ed25519, ECDSA with P-256 or P-384, or RSA with 2048 to 4096 bits: \
         ssh-keygen -t ed25519"
    )]
    Algorithm,
    #[error("the key is damaged: its parts are inconsistent")]
    Damaged,
}

/// The secret part of a key.
enum Secret {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

pub(in crate::build) struct PrivateKey {
    /// The public key in the format of the protocol.
    public: Vec<u8>,
    /// The name of its algorithm in the protocol.
    algorithm: String,
    secret: Secret,
}

/// The result of reading a key file.
pub(in crate::build) struct ImportedKey {
    pub(in crate::build) key: PrivateKey,
    /// The same key without a passphrase, as text.
    pub(in crate::build) text: Zeroizing<String>,
}

/// Reads a private key. Fails for an unsupported format or algorithm, and without the right passphrase.
pub(in crate::build) fn read(text: &str, passphrase: Option<&str>) -> Result<ImportedKey, KeyError> {
    let (label, bytes) = pem(text).ok_or_else(|| {
        let is_public = ["ssh-", "ecdsa-sha2-", "sk-", "-----BEGIN PUBLIC", "---- BEGIN SSH2 PUBLIC"];
        if is_public.iter().any(|start| text.starts_with(start)) {
            KeyError::Public
        } else {
            KeyError::Format
        }
    })?;
    let key = match label {
        "OPENSSH PRIVATE KEY" => return read_openssh(&bytes, passphrase),
        "RSA PRIVATE KEY" => rsa(RsaKeyPair::from_der(&bytes))?,
        "PRIVATE KEY" => pkcs8(&bytes)?,
        "PUBLIC KEY" => return Err(KeyError::Public),
        label if label.ends_with("PRIVATE KEY") => return Err(KeyError::Form),
        _ => return Err(KeyError::Format),
    };
    Ok(ImportedKey { key, text: Zeroizing::new(text.to_owned()) })
}

/// Returns the label and the bytes of a PEM file. Files that OpenSSL encrypted have header lines and are not supported.
fn pem(text: &str) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    let start = text.find("-----BEGIN ")?;
    let (label, rest) = text[start + "-----BEGIN ".len()..].split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    if body.contains("Proc-Type:") {
        // The weak encryption of OpenSSL's older format.
        return Some(("ENCRYPTED PRIVATE KEY", Zeroizing::default()));
    }
    let digits: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    Some((label, Zeroizing::new(STANDARD.decode(digits.as_str()).ok()?)))
}

fn read_openssh(bytes: &[u8], passphrase: Option<&str>) -> Result<ImportedKey, KeyError> {
    let file = OpensshFile::parse(bytes).ok_or(KeyError::Format)?;
    let secret = file.decrypt(passphrase)?;
    let mut reader = Reader(&secret);
    // Two equal numbers show that the decryption succeeded.
    let is_decrypted = reader.number().zip(reader.number()).is_some_and(|(a, b)| a == b);
    if !is_decrypted {
        return Err(if file.cipher == b"none" { KeyError::Format } else { KeyError::Passphrase });
    }
    let key = private_part(&mut reader).ok_or(KeyError::Format)??;
    if key.public != file.public {
        return Err(KeyError::Damaged);
    }
    let mut clear = Zeroizing::new(MAGIC.to_vec());
    put_string(&mut clear, b"none");
    put_string(&mut clear, b"none");
    put_string(&mut clear, b"");
    clear.extend(1_u32.to_be_bytes());
    put_string(&mut clear, file.public);
    put_string(&mut clear, &secret);
    let digits = Zeroizing::new(STANDARD.encode(&*clear));
    let text =
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n", *digits);
    Ok(ImportedKey { key, text: Zeroizing::new(text) })
}

/// A key file of OpenSSH with one key.
struct OpensshFile<'a> {
    cipher: &'a [u8],
    derivation: &'a [u8],
    options: &'a [u8],
    public: &'a [u8],
    secret: &'a [u8],
}

impl<'a> OpensshFile<'a> {
    fn parse(bytes: &'a [u8]) -> Option<OpensshFile<'a>> {
        let mut reader = Reader(bytes.strip_prefix(MAGIC)?);
        let (cipher, derivation, options) = (reader.string()?, reader.string()?, reader.string()?);
        if reader.number()? != 1 {
            return None;
        }
        let (public, secret) = (reader.string()?, reader.string()?);
        secret.len().is_multiple_of(BLOCK).then_some(OpensshFile {
            cipher,
            derivation,
            options,
            public,
            secret,
        })
    }

    fn decrypt(&self, passphrase: Option<&str>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let mut bytes = Zeroizing::new(self.secret.to_vec());
        match (self.cipher, self.derivation) {
            (b"none", b"none") => return Ok(bytes),
            (b"aes256-ctr", b"bcrypt") => {}
            _ => return Err(KeyError::Form),
        }
        let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
        let mut options = Reader(self.options);
        let (salt, rounds) = options.string().zip(options.number()).ok_or(KeyError::Format)?;
        if rounds == 0 || rounds > MAX_ROUNDS {
            return Err(KeyError::Form);
        }
        let mut derived = Zeroizing::new([0; 48]);
        bcrypt_pbkdf::bcrypt_pbkdf(passphrase.as_bytes(), salt, rounds, &mut *derived)
            .map_err(|_| KeyError::Passphrase)?;
        let (key, nonce) = derived.split_at(32);
        let mut cipher =
            ctr::Ctr128BE::<Aes256>::new_from_slices(key, nonce).map_err(|_| KeyError::Format)?;
        cipher.apply_keystream(&mut bytes);
        Ok(bytes)
    }
}

/// Reads the private part of a key of OpenSSH; `None` if it is truncated.
fn private_part(reader: &mut Reader<'_>) -> Option<Result<PrivateKey, KeyError>> {
    Some(match reader.string()? {
        b"ssh-ed25519" => {
            let (public, both) = (reader.string()?, reader.string()?);
            let seed = both.get(..32)?;
            Ed25519KeyPair::from_seed_and_public_key(seed, public).map(ed25519).map_err(|_| KeyError::Damaged)
        }
        b"ecdsa-sha2-nistp256" => ecdsa_part(&ECDSA_P256_SHA256_FIXED_SIGNING, 32, reader)?,
        b"ecdsa-sha2-nistp384" => ecdsa_part(&ECDSA_P384_SHA384_FIXED_SIGNING, 48, reader)?,
        b"ssh-rsa" => {
            let (n, e, d) = (reader.integer()?, reader.integer()?, reader.integer()?);
            let (q_inverse, p, q) = (reader.integer()?, reader.integer()?, reader.integer()?);
            let exponent = BigUint::from_bytes_be(d);
            let remainder = |prime: &[u8]| {
                let prime = BigUint::from_bytes_be(prime);
                (prime > BigUint::from(2_u8)).then(|| (&exponent % (prime - 1_u8)).to_bytes_be())
            };
            let (d_p, d_q) = (remainder(p)?, remainder(q)?);
            rsa(RsaKeyPair::from_components(&KeyPairComponents {
                public_key: PublicKeyComponents { n, e },
                d,
                p,
                q,
                dP: &d_p[..],
                dQ: &d_q[..],
                qInv: q_inverse,
            }))
        }
        _ => Err(KeyError::Algorithm),
    })
}

fn ecdsa_part(
    algorithm: &'static EcdsaSigningAlgorithm,
    length: usize,
    reader: &mut Reader<'_>,
) -> Option<Result<PrivateKey, KeyError>> {
    let (_, public, number) = (reader.string()?, reader.string()?, reader.integer()?);
    let mut padded = Zeroizing::new(vec![0; length.checked_sub(number.len())?]);
    padded.extend(number);
    let key = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &padded, public, &SystemRandom::new());
    Some(key.map(|key| ecdsa(key, length)).map_err(|_| KeyError::Damaged))
}

fn pkcs8(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
        return Ok(ed25519(key));
    }
    for (algorithm, length) in
        [(&ECDSA_P256_SHA256_FIXED_SIGNING, 32), (&ECDSA_P384_SHA384_FIXED_SIGNING, 48)]
    {
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(algorithm, bytes, &SystemRandom::new()) {
            return Ok(ecdsa(key, length));
        }
    }
    rsa(RsaKeyPair::from_pkcs8(bytes))
}

fn ed25519(key: Ed25519KeyPair) -> PrivateKey {
    let mut public = Vec::new();
    put_string(&mut public, b"ssh-ed25519");
    put_string(&mut public, key.public_key().as_ref());
    PrivateKey { public, algorithm: "ssh-ed25519".to_owned(), secret: Secret::Ed25519(key) }
}

fn ecdsa(key: EcdsaKeyPair, length: usize) -> PrivateKey {
    let curve = if length == 32 { "nistp256" } else { "nistp384" };
    let algorithm = format!("ecdsa-sha2-{curve}");
    let mut public = Vec::new();
    put_string(&mut public, algorithm.as_bytes());
    put_string(&mut public, curve.as_bytes());
    put_string(&mut public, key.public_key().as_ref());
    PrivateKey { public, algorithm, secret: Secret::Ecdsa(key) }
}

fn rsa(key: Result<RsaKeyPair, ring::error::KeyRejected>) -> Result<PrivateKey, KeyError> {
    let key = key.map_err(|_| KeyError::Algorithm)?;
    let components: PublicKeyComponents<Vec<u8>> = key.public().into();
    let mut public = Vec::new();
    put_string(&mut public, b"ssh-rsa");
    put_integer(&mut public, &components.e);
    put_integer(&mut public, &components.n);
    Ok(PrivateKey { public, algorithm: "ssh-rsa".to_owned(), secret: Secret::Rsa(Box::new(key)) })
}

impl PrivateKey {
    /// Returns the public key in the format of the protocol.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// Returns algorithm and fingerprint, as `ssh-keygen -l` writes them: `ED25519 SHA256:…`.
    pub(in crate::build) fn fingerprint(&self) -> String {
        let name = match &self.secret {
            Secret::Ed25519(_) => "ED25519",
            Secret::Ecdsa(_) => "ECDSA",
            Secret::Rsa(_) => "RSA",
        };
        format!("{name} {}", fingerprint(&self.public))
    }

    /// Signs data; returns the name of the algorithm and the signature in the format of the protocol. `None` if an RSA
    /// signature with SHA-1 is requested, which is not secure.
    pub(super) fn sign(&self, data: &[u8], flags: u32) -> Option<Vec<u8>> {
        let mut signature = Vec::new();
        match &self.secret {
            Secret::Ed25519(key) => {
                put_string(&mut signature, self.algorithm.as_bytes());
                put_string(&mut signature, key.sign(data).as_ref());
            }
            Secret::Ecdsa(key) => {
                let fixed = key.sign(&SystemRandom::new(), data).ok()?;
                let (r, s) = fixed.as_ref().split_at(fixed.as_ref().len() / 2);
                let mut both = Vec::new();
                put_integer(&mut both, r);
                put_integer(&mut both, s);
                put_string(&mut signature, self.algorithm.as_bytes());
                put_string(&mut signature, &both);
            }
            Secret::Rsa(key) => {
                let (name, padding) = match flags {
                    flags if flags & RSA_SHA2_512 != 0 => ("rsa-sha2-512", &RSA_PKCS1_SHA512),
                    flags if flags & RSA_SHA2_256 != 0 => ("rsa-sha2-256", &RSA_PKCS1_SHA256),
                    _ => return None,
                };
                let mut bytes = vec![0; key.public().modulus_len()];
                key.sign(padding, &SystemRandom::new(), data, &mut bytes).ok()?;
                put_string(&mut signature, name.as_bytes());
                put_string(&mut signature, &bytes);
            }
        }
        Some(signature)
    }
}

/// Returns the fingerprint of a public key, as OpenSSH writes it: `SHA256:…`.
pub(super) fn fingerprint(public: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(public)))
}

/// Returns a new key, for tests.
#[cfg(test)]
pub(super) fn generated() -> PrivateKey {
    let bytes = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    pkcs8(bytes.as_ref()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    fn ssh_keygen(arguments: &[&str]) -> String {
        let output = Command::new("ssh-keygen").args(arguments).output().expect("ssh-keygen can be run");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn generate(directory: &Path, arguments: &str, passphrase: &str) -> String {
        let file = directory.join("key");
        let _ = std::fs::remove_file(&file);
        let file = file.to_str().unwrap();
        let mut all: Vec<&str> = vec!["-q", "-f", file, "-N", passphrase, "-a", "4"];
        all.extend(arguments.split(' '));
        ssh_keygen(&all);
        std::fs::read_to_string(file).unwrap()
    }

    /// Verifies a signature of the key with `ssh-keygen`, in the format of signatures of files (PROTOCOL.sshsig).
    fn assert_verified(directory: &Path, key: &PrivateKey) {
        let message = b"message";
        let hash = sha2::Sha512::digest(message);
        let mut signed = b"SSHSIG".to_vec();
        for part in [&b"test"[..], b"", b"sha512", &hash] {
            put_string(&mut signed, part);
        }
        let mut file = b"SSHSIG".to_vec();
        file.extend(1_u32.to_be_bytes());
        for part in [key.public(), b"test", b"", b"sha512"] {
            put_string(&mut file, part);
        }
        put_string(&mut file, &key.sign(&signed, RSA_SHA2_512).unwrap());
        let text = format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
            STANDARD.encode(file)
        );
        let (signature, signers) = (directory.join("signature"), directory.join("signers"));
        std::fs::write(&signature, text).unwrap();
        let public = std::fs::read_to_string(directory.join("key.pub")).unwrap();
        std::fs::write(&signers, format!("a@b {public}")).unwrap();
        std::fs::write(directory.join("message"), message).unwrap();
        let arguments = ["-Y", "verify", "-I", "a@b", "-n", "test", "-f"];
        let mut command = Command::new("ssh-keygen");
        command.args(arguments).arg(&signers).arg("-s").arg(&signature);
        let output = command.stdin(std::fs::File::open(directory.join("message")).unwrap()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn keys_of_openssh_are_read_and_their_signatures_verified_by_it() {
        let directory = tempfile::tempdir().unwrap();
        for (arguments, name) in [
            ("-t ed25519", "ED25519"),
            ("-t ecdsa -b 256", "ECDSA"),
            ("-t ecdsa -b 384", "ECDSA"),
            ("-t rsa -b 2048", "RSA"),
            ("-t rsa -b 3072", "RSA"),
            ("-t rsa -b 2048 -m PEM", "RSA"),
            ("-t rsa -b 2048 -m PKCS8", "RSA"),
            ("-t ecdsa -b 256 -m PKCS8", "ECDSA"),
        ] {
            let text = generate(directory.path(), arguments, "");
            let imported = read(&text, None).unwrap_or_else(|error| panic!("{arguments}: {error}"));
            let file = directory.path().join("key.pub");
            let listed = ssh_keygen(&["-l", "-f", file.to_str().unwrap()]);
            let fingerprint = imported.key.fingerprint();
            let (kind, digest) = fingerprint.split_once(' ').unwrap();
            assert!(kind == name && listed.contains(digest), "{arguments}: {fingerprint} {listed}");
            assert_verified(directory.path(), &imported.key);
            let again = read(&imported.text, None).unwrap();
            assert_eq!(again.key.public(), imported.key.public(), "{arguments}");
        }
    }

    #[test]
    fn a_passphrase_is_needed_once() {
        let directory = tempfile::tempdir().unwrap();
        for arguments in ["-t ed25519", "-t rsa -b 2048"] {
            let text = generate(directory.path(), arguments, "a phrase");
            assert_eq!(read(&text, None).err(), Some(KeyError::Encrypted));
            assert_eq!(read(&text, Some("another")).err(), Some(KeyError::Passphrase));
            let imported = read(&text, Some("a phrase")).unwrap_or_else(|error| panic!("{error}"));
            let stored = directory.path().join("key");
            std::fs::write(&stored, imported.text.as_bytes()).unwrap();
            // OpenSSH reads the stored key, which has no passphrase.
            let public = ssh_keygen(&["-y", "-P", "", "-f", stored.to_str().unwrap()]);
            let expected = std::fs::read_to_string(directory.path().join("key.pub")).unwrap();
            assert_eq!(public.split(' ').nth(1), expected.split(' ').nth(1).map(str::trim));
            assert_verified(directory.path(), &read(&imported.text, None).unwrap().key);
        }
    }

    #[test]
    fn other_files_are_refused_with_a_reason() {
        let directory = tempfile::tempdir().unwrap();
        let text = generate(directory.path(), "-t ed25519", "");
        let public = std::fs::read_to_string(directory.path().join("key.pub")).unwrap();
        assert_eq!(read(&public, None).err(), Some(KeyError::Public));
        for other in [
            "",
            "text",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----",
        ] {
            assert_eq!(read(other, None).err(), Some(KeyError::Format), "{other}");
        }
        for (arguments, passphrase, error) in [
            ("-t ecdsa -b 521", "", KeyError::Algorithm),
            ("-t rsa -b 1024", "", KeyError::Algorithm),
            ("-t ecdsa -b 256 -m PEM", "", KeyError::Form),
            ("-t rsa -b 2048 -m PEM", "phrase", KeyError::Form),
            ("-t ed25519 -Z aes256-cbc", "phrase", KeyError::Form),
        ] {
            let text = generate(directory.path(), arguments, passphrase);
            assert_eq!(read(&text, Some(passphrase)).err(), Some(error), "{arguments}");
        }
        // A truncated or changed file gives an error or a key, and never causes a panic.
        let (_, bytes) = pem(&text).unwrap();
        for end in 0..bytes.len() {
            assert!(read_openssh(&bytes[..end], None).is_err(), "{end}");
            let mut changed = bytes.to_vec();
            changed[end] ^= 0xff;
            let _ = read_openssh(&changed, None);
        }
    }
}
