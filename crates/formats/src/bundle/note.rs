//! The signatures of the files of a bundle that end with their own digest: heads, and the versions of Bioconductor. Each is
//! a signed note in a file of its own, which is written before the signed file and named after its digest.

use serde::Deserialize;

use super::{FormatError, self_digest};
use crate::tlog::note::{KeyType, Note, Signer, Statement, VerifierKey};

const FIRST_LINE: &str = "rspm-bundle/1 head";

/// Returns the text that a key signs: product and state of the file, its digest, and the key.
fn text(file: &[u8], key: &VerifierKey) -> Result<String, FormatError> {
    /// Heads of products have all members, those of shared data `product` and `created`, and the versions of Bioconductor
    /// none.
    #[derive(Deserialize)]
    struct Members {
        product: Option<String>,
        serial: Option<u64>,
        snapshot: Option<String>,
        created: Option<String>,
    }
    let state = match self_digest::parse(file)? {
        Members { product: Some(product), serial: Some(serial), snapshot: Some(snapshot), .. } => {
            format!("{product} {serial} {snapshot}")
        }
        Members { product: Some(product), created: Some(created), .. } => format!("{product} {created}"),
        Members { .. } => "bioconductor versions".to_owned(),
    };
    Ok(format!("{FIRST_LINE}\n{state}\nsha256 {}\nkey {key}\n", self_digest::digest(file)))
}

/// Returns the note that signs a file. Equal files have equal notes.
pub fn sign(file: &[u8], signer: &Signer) -> Result<String, FormatError> {
    let text = text(file, signer.key(KeyType::Note))?;
    Ok(format!("{text}\n{}", signer.sign(&text, Statement::Signed)))
}

/// Returns the key that signed a file: the one that its note names. The caller decides whether it trusts the key.
pub fn signer(note: &[u8], file: &[u8]) -> Result<VerifierKey, FormatError> {
    let damaged =
        |problem: String| FormatError::Damaged(format!("it is not the note of its file: {problem}"));
    let note = Note::parse(note).map_err(|e| damaged(e.to_string()))?;
    let key = note.text().lines().find_map(|line| line.strip_prefix("key "));
    let key: VerifierKey = key.unwrap_or_default().parse().map_err(|e| damaged(format!("{e}")))?;
    if note.text() != text(file, &key)? {
        return Err(damaged(format!(
            "it signs '{}'",
            note.text().lines().take(3).collect::<Vec<_>>().join(", ")
        )));
    }
    match note.verify(&key) {
        Ok(Some(Statement::Signed)) => Ok(key),
        Ok(_) => Err(damaged(format!("no signature of {key}"))),
        Err(error) => Err(damaged(error.to_string())),
    }
}

/// Returns the serial that a note of a product's head states, without verification.
pub fn serial(note: &str) -> Option<u64> {
    note.lines().nth(1)?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"format":"rspm-bundle/1","product":"cran","serial":7,"snapshot":"2026-11-20","created":"2026-11-20T01:12:07Z""#;

    fn signed(text: &str) -> (Vec<u8>, Signer) {
        let value: serde_json::Value = serde_json::from_str(&format!("{text}}}")).expect("JSON");
        (self_digest::serialize(&value), Signer::from_seed("usb", &[1; 32]).expect("a key"))
    }

    #[test]
    fn a_note_states_what_it_signs() {
        for (text, state) in [
            (HEAD, "cran 7 2026-11-20"),
            (&HEAD.replace(",\"serial\":7", ""), "cran 2026-11-20T01:12:07Z"),
            (r#"{"config_yaml":"a: 1""#, "bioconductor versions"),
        ] {
            let (file, key) = signed(text);
            let note = sign(&file, &key).expect("a file that ends with its digest");
            let digest = self_digest::digest(&file);
            let public = key.key(KeyType::Note);
            let text = format!("rspm-bundle/1 head\n{state}\nsha256 {digest}\nkey {public}\n\n— usb ");
            assert!(note.starts_with(&text), "{note}");
            assert_eq!(signer(note.as_bytes(), &file).as_ref(), Ok(public));
            assert_eq!(serial(&note), Some(7).filter(|_| state == "cran 7 2026-11-20"));
        }
        assert!(sign(b"{}", &signed(HEAD).1).is_err());
    }

    #[test]
    fn a_note_of_something_else_is_refused() {
        let (file, key) = signed(HEAD);
        let note = sign(&file, &key).expect("a note");
        let refusal = |note: &str, part: &str| {
            let error = signer(note.as_bytes(), &file).expect_err(note).to_string();
            assert!(error.starts_with("it is not the note of its file: ") && error.contains(part), "{error}");
        };
        for other in [HEAD.replace("cran", "pypi"), HEAD.replace('7', "8")] {
            refusal(&sign(&signed(&other).0, &key).expect("a note"), "it signs 'rspm-bundle/1 head, ");
        }
        for end in 0..note.len() {
            if note.is_char_boundary(end) {
                refusal(&note[..end], "");
            }
        }
        let (text, line) = note.rsplit_once("\n\n").expect("a signature");
        refusal(&format!("{note}{line}"), "second signature of usb");
        let other = Signer::from_seed("usb", &[2; 32]).expect("a key");
        let foreign = other.sign(&format!("{text}\n"), Statement::Signed);
        refusal(&format!("{text}\n\n{foreign}"), "no signature of usb+");
        assert!(signer(format!("{note}{foreign}").as_bytes(), &file).is_ok(), "an unknown signature besides");
        refusal(&note.replace("\nkey ", "\nkey x"), "");
        let named = note.replace(&key.key(KeyType::Note).to_string(), &other.key(KeyType::Note).to_string());
        refusal(&named, "no signature of usb+");
        // The key that `ring` accepts for every text, with its signature: the identity, and 0.
        let public = [&[1], &[1][..], &[0; 31]].concat();
        let id = "5a8f1d2c";
        let small = format!("usb+{id}+{}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, public));
        refusal(&note.replace(&key.key(KeyType::Note).to_string(), &small), "small order");
    }
}
