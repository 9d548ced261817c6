//! Signed notes (C2SP signed-note v1.0.0), checkpoints (tlog-checkpoint v1.0.0) and cosignatures of witnesses
//! (tlog-cosignature v1.0.1, `cosignature/v1`). More is refused than the specifications demand: see [`Note::verify`].

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use super::tree::{Hash, Root};
use super::{TlogError, base64_hash, decimal, fail, lines_of, quoted};

/// Maximum size of a note in bytes; enough for 64 signatures of ML-DSA-44.
pub(super) const MAX_NOTE_SIZE: usize = 256 << 10;
/// Maximum number of signatures of a note, unknown ones included; the specification demands at least 16.
const MAX_SIGNATURES: usize = 64;

/// The first time, in seconds since the epoch, that a cosignature cannot have.
const YEAR_10000: u64 = 253_402_300_800;

/// The y coordinates, little-endian, of the eight points of Ed25519 whose order divides 8: 1 (order 1), -1 (order 2), 0
/// (order 4), and two of order 8. Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020), table 1. `ring`
/// accepts a signature of the first one for every text.
const SMALL_ORDER: [&str; 5] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];

/// Returns whether a public key is a point of small order, or has a y coordinate of 2^255 - 19 or more, which RFC 8032
/// (5.1.3) forbids and which is another encoding of a smaller one.
fn is_unsafe(public: &Hash) -> bool {
    let mut y = *public;
    // The highest bit is the sign of x.
    y[31] &= 0x7f;
    let is_too_large = y[0] >= 0xed && y[31] == 0x7f && y[1..31].iter().all(|byte| *byte == 0xff);
    is_too_large || SMALL_ORDER.contains(&hex::encode(y).as_str())
}

/// The type of a signature. Its number is a part of the key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// Ed25519 over the text of a note: keys of logs.
    Note = 1,
    /// Ed25519 over a time and the text of a checkpoint: keys of witnesses.
    Cosignature = 4,
}

/// What a signature states about the text of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    Signed,
    /// Of a checkpoint: no tree that the witness saw until this time, in seconds since the epoch, contradicts it.
    Cosigned(u64),
}

impl Statement {
    /// Returns the bytes that are signed.
    fn message(self, text: &str) -> String {
        match self {
            Statement::Signed => text.to_owned(),
            Statement::Cosigned(time) => format!("cosignature/v1\ntime {time}\n{text}"),
        }
    }
}

/// A public key with its name. The text form is `NAME+ID+KEY`: the id in 8 hexadecimal digits, type and key in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key_type: KeyType,
    pub(super) public: Hash,
    id: [u8; 4],
}

impl VerifierKey {
    /// Fails for a name that is empty or has spaces or `+`, and for a key that would accept signatures of others.
    pub fn new(name: &str, key_type: KeyType, public: Hash) -> Result<VerifierKey, TlogError> {
        if !is_key_name(name) {
            return fail(format!("{} is not a name of a key: no spaces, no '+'", quoted(name)));
        }
        if is_unsafe(&public) {
            let key = hex::encode(public);
            return fail(format!(
                "key {key} of {name}: anyone can sign with it (small order); get another one"
            ));
        }
        let hashed = [name.as_bytes(), &[b'\n', key_type as u8], &public].concat();
        let [a, b, c, d, ..]: Hash = Sha256::digest(hashed).into();
        Ok(VerifierKey { name: name.to_owned(), key_type, public, id: [a, b, c, d] })
    }

    /// Parses a key of this type.
    pub fn parse_as(text: &str, key_type: KeyType) -> Result<VerifierKey, TlogError> {
        let key: VerifierKey = text.parse()?;
        if key.key_type == key_type {
            return Ok(key);
        }
        let (found, needed) = (key.key_type as u8, key_type as u8);
        fail(format!("{key} is of type {found} instead of {needed} (log: 1, witness: 4)"))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether a signature of a note names this key.
    fn is_of(&self, (name, bytes): &(String, Vec<u8>)) -> bool {
        *name == self.name && bytes.starts_with(&self.id)
    }
}

impl FromStr for VerifierKey {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<VerifierKey, TlogError> {
        let mut parts = text.splitn(3, '+');
        let (name, id, key) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        let bytes = key.and_then(|key| BASE64_STANDARD.decode(key).ok()).unwrap_or_default();
        let (key_type, public) = match bytes.split_first() {
            Some((1, public)) => (KeyType::Note, public.try_into()),
            Some((4, public)) => (KeyType::Cosignature, public.try_into()),
            _ => return fail(format!("{} is not a key NAME+ID+BASE64 of type 1 or 4", quoted(text))),
        };
        let Ok(public) = public else { return fail(format!("{}: the key is not of 32 bytes", quoted(text))) };
        let key = VerifierKey::new(name, key_type, public)?;
        match key.to_string() == text {
            true => Ok(key),
            false => fail(format!("id {} is not that of the key: {key}", quoted(id.unwrap_or_default()))),
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64_STANDARD.encode([&[self.key_type as u8], &self.public[..]].concat());
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.id))
    }
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control())
}

/// A private key with its public keys as a log and as a witness.
#[derive(Debug)]
pub struct Signer {
    pair: Ed25519KeyPair,
    log: VerifierKey,
    witness: VerifierKey,
}

impl Signer {
    /// Derives the key pair from a seed (RFC 8032, 5.1.5).
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Signer, TlogError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        let pair = pair.map_err(|e| TlogError(format!("seed of {}: {e}", quoted(name))))?;
        // Without its 32 bytes it would be a key of small order, which is refused.
        let public = pair.public_key().as_ref().try_into().unwrap_or_default();
        let key = |key_type| VerifierKey::new(name, key_type, public);
        Ok(Signer { log: key(KeyType::Note)?, witness: key(KeyType::Cosignature)?, pair })
    }

    pub fn key(&self, key_type: KeyType) -> &VerifierKey {
        match key_type {
            KeyType::Note => &self.log,
            KeyType::Cosignature => &self.witness,
        }
    }

    /// Returns the signature line, with a line feed, for the text of a note. A note is its text, which ends with a line
    /// feed, an empty line, and signature lines in any order.
    pub fn sign(&self, text: &str, statement: Statement) -> String {
        let (key, time) = match statement {
            Statement::Signed => (&self.log, Vec::new()),
            Statement::Cosigned(time) => (&self.witness, time.to_be_bytes().to_vec()),
        };
        let signature = self.pair.sign(statement.message(text).as_bytes());
        signature_line(&key.name, &[&key.id, time.as_slice(), signature.as_ref()].concat())
    }
}

/// Begins the text form of a private key: `PRIVATE+KEY+NAME+ID+BASE64`, that of Go's package `sumdb/note`.
const PRIVATE: &str = "PRIVATE+KEY+";

impl Signer {
    /// Returns the text form of the private key of a seed.
    pub fn private_text(name: &str, seed: &[u8; 32]) -> Result<String, TlogError> {
        let id = hex::encode(Signer::from_seed(name, seed)?.log.id);
        let seed = BASE64_STANDARD.encode([&[KeyType::Note as u8], &seed[..]].concat());
        Ok(format!("{PRIVATE}{name}+{id}+{seed}\n"))
    }
}

impl FromStr for Signer {
    type Err = TlogError;

    /// Parses the text form of a private key. SECURITY: the error does not contain the text.
    fn from_str(text: &str) -> Result<Signer, TlogError> {
        let mut parts = text.strip_prefix(PRIVATE).unwrap_or_default().trim_end().splitn(3, '+');
        let (name, _, seed) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        let bytes = seed.and_then(|seed| BASE64_STANDARD.decode(seed).ok()).unwrap_or_default();
        match bytes.get(1..).and_then(|seed| seed.try_into().ok()) {
            Some(seed)
                if Signer::private_text(name, seed).is_ok_and(|own| own.trim_end() == text.trim_end()) =>
            {
                Signer::from_seed(name, seed)
            }
            _ => fail(format!("not a private key {PRIVATE}NAME+ID+BASE64")),
        }
    }
}

fn signature_line(name: &str, bytes: &[u8]) -> String {
    format!("— {name} {}\n", BASE64_STANDARD.encode(bytes))
}

/// A text with signatures. `Display` writes it as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    /// Names of keys; ids and signatures.
    signatures: Vec<(String, Vec<u8>)>,
}

impl Note {
    /// Parses a note without verification of its signatures. Fails above 256 KiB and 64 signatures, and for all control
    /// characters except the line feed.
    pub fn parse(bytes: &[u8]) -> Result<Note, TlogError> {
        let lines = lines_of(bytes, MAX_NOTE_SIZE)?;
        let empty = lines.iter().rposition(|line| line.is_empty()).unwrap_or(lines.len());
        let (text, rest) = lines.split_at(empty);
        let (count, first) = (rest.len().saturating_sub(1), empty + 2);
        if text.is_empty() || !(1..=MAX_SIGNATURES).contains(&count) {
            return fail(format!("{count} signatures after the last empty line, not 1 to {MAX_SIGNATURES}"));
        }
        let signature = |line: &str| {
            let (name, text) = line.strip_prefix("— ")?.split_once(' ')?;
            let bytes = BASE64_STANDARD.decode(text).ok()?;
            (is_key_name(name) && bytes.len() > 4).then(|| (name.to_owned(), bytes))
        };
        let wrong =
            |line, number| TlogError(format!("line {number}: {} is not '— NAME BASE64'", quoted(line)));
        let signatures = rest.iter().skip(1).zip(first..);
        let signatures = signatures.map(|(line, number)| signature(line).ok_or_else(|| wrong(line, number)));
        Ok(Note { text: text.join("\n") + "\n", signatures: signatures.collect::<Result<_, _>>()? })
    }

    /// Returns the note with the signatures that another note with the same text has of these keys, instead of its own.
    #[must_use]
    pub fn with(&self, keys: &[&VerifierKey], other: &Note) -> Note {
        let is_of = |signature: &&(String, Vec<u8>)| keys.iter().any(|key| key.is_of(signature));
        let own = self.signatures.iter().filter(|signature| !is_of(signature));
        let signatures = own.chain(other.signatures.iter().filter(is_of)).cloned().collect();
        Note { text: self.text.clone(), signatures }
    }

    /// Returns the note with the signatures of these keys only.
    #[must_use]
    pub fn only(&self, keys: &[&VerifierKey]) -> Note {
        Note { text: self.text.clone(), signatures: Vec::new() }.with(keys, self)
    }

    /// Returns the text, with the line feed at its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns how many of these keys have a signature, which is not verified.
    pub fn signature_count(&self, keys: &[VerifierKey]) -> usize {
        let has = |key: &&VerifierKey| self.signatures.iter().any(|signature| key.is_of(signature));
        keys.iter().filter(has).count()
    }

    /// Returns what a key states; `None` if it did not sign. Fails if its signature is wrong, or if it has two: the
    /// specification allows the second, but then a reader of the first and one of the last see different times.
    pub fn verify(&self, key: &VerifierKey) -> Result<Option<Statement>, TlogError> {
        let signatures = self.signatures.iter().zip(self.text.lines().count() + 2..);
        let mut own = signatures.filter(|(signature, _)| key.is_of(signature));
        let Some(((_, bytes), number)) = own.next() else { return Ok(None) };
        if let Some((_, second)) = own.next() {
            return fail(format!("line {second}: second signature of {}", key.name));
        }
        let bytes = bytes.get(key.id.len()..).unwrap_or_default();
        let statement = match (key.key_type, bytes.split_first_chunk()) {
            (KeyType::Note, _) => Some((Statement::Signed, bytes)),
            (KeyType::Cosignature, Some((time, bytes))) => {
                let time = Some(u64::from_be_bytes(*time)).filter(|time| *time < YEAR_10000);
                time.map(|time| (Statement::Cosigned(time), bytes))
            }
            (KeyType::Cosignature, None) => None,
        };
        let verifier = UnparsedPublicKey::new(&ED25519, key.public);
        let is_right = |statement: Statement, signature| {
            verifier.verify(statement.message(&self.text).as_bytes(), signature).is_ok()
        };
        match statement {
            Some((statement, signature)) if is_right(statement, signature) => Ok(Some(statement)),
            _ => fail(format!("line {number}: wrong signature of {}", key.name)),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|(name, bytes)| f.write_str(&signature_line(name, bytes)))
    }
}

/// The text of a note that is the head of a log: three lines with origin, number of entries, and root in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log, and of its key.
    pub origin: String,
    pub root: Root,
}

impl FromStr for Checkpoint {
    type Err = TlogError;

    /// Extension lines are refused: logs of this format have none, and witnesses do not check them.
    fn from_str(text: &str) -> Result<Checkpoint, TlogError> {
        let lines = lines_of(text.as_bytes(), MAX_NOTE_SIZE)?;
        let [origin, count, hash] = lines[..] else {
            return fail(format!("{} lines instead of three: origin, size, root", lines.len()));
        };
        if origin.is_empty() {
            return fail("line 1: no origin");
        }
        let count = decimal(count).map_err(|e| e.at("line 2"))?;
        let hash = base64_hash(hash).map_err(|e| e.at("line 3"))?;
        Ok(Checkpoint { origin: origin.to_owned(), root: Root { count, hash } })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = BASE64_STANDARD.encode(self.root.hash);
        write!(f, "{}\n{}\n{hash}\n", self.origin, self.root.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: &str = "log.example/a";

    fn signer(seed: u8) -> Signer {
        Signer::from_seed(NAME, &[seed; 32]).unwrap()
    }

    fn checkpoint() -> String {
        let root = Root { count: 243, hash: [9; 32] };
        Checkpoint { origin: NAME.to_owned(), root }.to_string()
    }

    /// The result of a reader that trusts the key of `signer(1)`.
    fn read(note: &str) -> Result<Checkpoint, TlogError> {
        let note = Note::parse(note.as_bytes())?;
        match note.verify(signer(1).key(KeyType::Note))? {
            Some(_) => note.text().parse(),
            None => fail("not signed"),
        }
    }

    #[test]
    fn notes_are_read_strictly() {
        let text = checkpoint();
        let (good, other) =
            (signer(1).sign(&text, Statement::Signed), signer(2).sign(&text, Statement::Signed));
        let forged = signature_line(NAME, &[&signer(1).log.id[..], &[1; 64]].concat());
        let signed = |text: &str| format!("{text}\n{}", signer(1).sign(text, Statement::Signed));
        let unknown = |count| format!("{text}\n{}{good}", other.repeat(count));
        assert_eq!(read(&format!("{text}\n{good}")).unwrap().to_string(), text);
        assert!(read(&unknown(16)).is_ok());
        assert!(read(&unknown(63)).is_ok());
        let text_without_line_feed = text.trim_end();
        for (case, note) in [
            ("line twice", format!("{text}\n{good}{good}")),
            ("good then forged", format!("{text}\n{good}{forged}")),
            ("forged then good", format!("{text}\n{forged}{good}")),
            ("unknown only", format!("{text}\n{other}")),
            ("64 unknown", unknown(64)),
            ("100 unknown", unknown(100)),
            ("no final line feed", format!("{text}\n{}", good.trim_end())),
            ("no signature", format!("{text}\n")),
            ("no empty line", format!("{text}{good}")),
            ("no text", format!("\n{good}")),
            ("two empty lines", format!("{text}\n\n{good}")),
            ("U+2028", signed(&format!("{text_without_line_feed}\u{2028}\n"))),
            ("CRLF", format!("{text}\n{good}").replace('\n', "\r\n")),
            ("NUL", format!("{text}\n{good}").replace("243", "24\x003")),
            ("tab", signed(&format!("{text}\ttab\n"))),
            ("extension line", signed(&format!("{text}extension\n"))),
            ("hyphen", format!("{text}\n{}", good.replace('—', "-"))),
            ("text after", format!("{text}\n{good}x\n")),
            ("name with NBSP", format!("{text}\n{}{good}", other.replace("log.example", "log\u{a0}example"))),
            ("name with +", format!("{text}\n{}{good}", other.replace("log.example", "log+example"))),
            ("short unknown signature", format!("{text}\n— x AAAAAA==\n{good}")),
            ("URL alphabet", format!("{text}\n— x AAAAA-__\n{good}")),
            ("no padding", format!("{text}\n— x AAAAAAA\n{good}")),
            ("trailing bits", format!("{text}\n— x AAAAAAB=\n{good}")),
            ("size 0243", signed(&text.replace("243", "0243"))),
            ("size +243", signed(&text.replace("243", "+243"))),
            ("size -1", signed(&text.replace("243", "-1"))),
            ("size 2^64", signed(&text.replace("243", "18446744073709551616"))),
            ("full-width size", signed(&text.replace("243", "２４３"))),
            ("no origin", signed(&text.replace(NAME, ""))),
        ] {
            assert!(read(&note).is_err(), "{case}");
        }
        let error = read(&format!("{text}\n{other}{forged}")).unwrap_err();
        assert_eq!(error.to_string(), "line 6: wrong signature of log.example/a");
        assert!(
            Note::parse(&[b'x'; MAX_NOTE_SIZE + 1]).unwrap_err().to_string().contains("more than 262144")
        );
        assert!(Note::parse(b"a\n\n\xff\n").unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn a_note_is_written_as_it_was_read() {
        let text = "a text\n\nwith an empty line\n";
        let note = format!("{text}\n{}", signer(1).sign(text, Statement::Signed));
        let parsed = Note::parse(note.as_bytes()).unwrap();
        assert_eq!((parsed.to_string(), parsed.text()), (note, text));
        assert_eq!(parsed.verify(signer(1).key(KeyType::Note)), Ok(Some(Statement::Signed)));
    }

    #[test]
    fn cosignatures_state_a_time() {
        let (text, witness) = (checkpoint(), signer(3));
        let verify = |line: String| {
            Note::parse(format!("{text}\n{line}").as_bytes()).unwrap().verify(&witness.witness)
        };
        let line = witness.sign(&text, Statement::Cosigned(1_700_000_000));
        assert_eq!(verify(line.clone()), Ok(Some(Statement::Cosigned(1_700_000_000))));
        let bytes = BASE64_STANDARD.decode(line.trim_end().rsplit_once(' ').unwrap().1).unwrap();
        assert_eq!(bytes.len(), 76);
        let with = |bytes: &[u8]| verify(signature_line(NAME, bytes));
        let mut later = bytes.clone();
        later[11] ^= 1;
        for wrong in [&later[..], &bytes[..75], &bytes[..11], &[&bytes[..], &[0]].concat()] {
            assert!(with(wrong).is_err());
        }
        // The signature of a note under the id of a cosignature, another checkpoint, and a time after the year 9999.
        let plain = signer(3).pair.sign(text.as_bytes());
        assert!(with(&[&bytes[..12], plain.as_ref()].concat()).is_err());
        assert!(verify(witness.sign("x\n", Statement::Cosigned(1))).is_err());
        assert!(verify(witness.sign(&text, Statement::Cosigned(YEAR_10000))).is_err());
        assert!(verify(witness.sign(&text, Statement::Cosigned(YEAR_10000 - 1))).is_ok());
        assert_eq!(verify(witness.sign(&text, Statement::Signed)), Ok(None));
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        for key_type in [KeyType::Note, KeyType::Cosignature] {
            let key = signer(1).key(key_type).clone();
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        let key = signer(1).log.to_string();
        let [name, id, base64] = key.splitn(3, '+').collect::<Vec<_>>()[..] else { panic!("{key}") };
        for bad in [
            String::new(),
            format!("{name}+{id}"),
            format!("{name}+{}+{base64}", id.to_uppercase()),
            format!("{name}+0{}+{base64}", &id[1..]),
            format!("{name}x+{id}+{base64}"),
            format!("+{id}+{base64}"),
            format!("a b+{id}+{base64}"),
            format!("{name}+{id}+{base64}="),
            format!("{name}+{id}+{}", &base64[..43]),
            format!("{name}+{id}+{}", BASE64_STANDARD.encode([&[2], &signer(1).log.public[..]].concat())),
            format!("{name}+{id}+{}", BASE64_STANDARD.encode([1; 32])),
            format!("{name}+{id}+{}", BASE64_STANDARD.encode([1; 34])),
            format!("{key}\n"),
        ] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
        let error = format!("{name}+00000000+{base64}").parse::<VerifierKey>().unwrap_err().to_string();
        assert!(error.contains("'00000000'") && error.contains(&key), "{error}");
    }

    #[test]
    fn private_keys_are_those_of_go() {
        // Made by `note.GenerateKey` of golang.org/x/mod/sumdb from a reader of bytes 1.
        let go = "PRIVATE+KEY+packages.example.org/__log__+20481e7f+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n";
        let public = "packages.example.org/__log__+20481e7f+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
        assert_eq!(Signer::private_text("packages.example.org/__log__", &[1; 32]).unwrap(), go);
        assert_eq!(go.parse::<Signer>().unwrap().log.to_string(), public);
        let other_type = go.replace("+AQE", "+BAE");
        for bad in
            ["", PRIVATE, &go[1..], &go[..60], &go.replace("+2", "+3"), &other_type, &go.replace('/', " ")]
        {
            let error = bad.parse::<Signer>().unwrap_err().to_string();
            assert_eq!(error, "not a private key PRIVATE+KEY+NAME+ID+BASE64", "{bad}");
        }
    }

    #[test]
    fn keys_that_anyone_can_sign_with_are_refused() {
        let with_sign = |digits: &str| {
            let mut key: Hash = hex::decode(digits).unwrap().try_into().unwrap();
            key[31] |= 0x80;
            key
        };
        let p_and_more =
            (0xed..=0xff).map(|low| [&[low][..], &[0xff; 30], &[0x7f]].concat().try_into().unwrap());
        let small = SMALL_ORDER.map(|digits| hex::decode(digits).unwrap().try_into().unwrap());
        let keys = small.into_iter().chain(SMALL_ORDER.map(with_sign)).chain(p_and_more);
        for key in keys {
            let error = VerifierKey::new(NAME, KeyType::Note, key).unwrap_err().to_string();
            assert!(error.contains("small order"), "{error}");
        }
        // What `ring` accepts for every text.
        let key: Hash = hex::decode(SMALL_ORDER[0]).unwrap().try_into().unwrap();
        let signature = [&key[..], &[0; 32]].concat();
        assert!(UnparsedPublicKey::new(&ED25519, key).verify(b"any text", &signature).is_ok());
    }

    proptest! {
        #[test]
        fn a_changed_note_is_refused(position in 0_usize..200, bit in 0_u8..8) {
            let text = checkpoint();
            let mut note = format!("{text}\n{}", signer(1).sign(&text, Statement::Signed)).into_bytes();
            let length = note.len();
            note[position % length] ^= 1 << bit;
            let is_read = Note::parse(&note).is_ok_and(|note| note.verify(&signer(1).log).is_ok_and(|s| s.is_some()));
            prop_assert!(!is_read);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, text: String) {
            let _ = Note::parse(&bytes);
            let _ = (text.parse::<VerifierKey>(), text.parse::<Checkpoint>());
        }
    }
}
