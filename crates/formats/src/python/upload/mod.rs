//! Uploads by twine and other clients: the form of PyPI's upload API, and its encoding (`multipart/form-data`). Here: the
//! fields of an upload with its signature and attestations, and their comparison with the file. The metadata of a package
//! is taken from the file; the form must only agree with it.

pub mod multipart;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::python::file_name::FileName;
use crate::python::metadata::{MAX_METADATA, validity};
use crate::python::name;
use crate::python::provenance;
use crate::python::version::Pep440Version;
use base::model::change::AttachedContent;
use base::model::digest::{FileDigests, Sha256};
use base::model::project_name::ProjectName;
use base::model::project_path::FilePart;
use base::model::trusted_publisher::TrustedPublisher;

/// The field with the file.
pub const CONTENT: &str = "content";
/// The field with attestations (PEP 740).
pub const ATTESTATIONS: &str = "attestations";
/// The field with a signature of the file.
pub const SIGNATURE: &str = "gpg_signature";
/// Maximum number of fields: those of the metadata, and those about the file.
pub const MAX_FIELDS: usize = validity::MAX_FIELDS + 100;
/// Maximum size of a field, in bytes. The largest one, the description, is a part of the metadata.
pub const MAX_FIELD: u64 = MAX_METADATA;
/// Maximum size of the field with attestations, in bytes.
pub const MAX_ATTESTATIONS: u64 = 1 << 20;
/// Maximum size of a signature, in bytes. One with a key of RSA or an elliptic curve has less than 2 kB, and the longest
/// ones of post-quantum algorithms have 70 kB in their encoding.
pub const MAX_SIGNATURE: u64 = 128 << 10;
/// Maximum size of all fields together, in bytes.
pub const MAX_FIELD_SUM: u64 = 2 * MAX_METADATA;

/// The fields that are compared; all others are ignored, also `pyversion`: bdist_wheel of old versions of setuptools sends
/// `3.6` for a wheel with the tag `py3`, and PyPI accepts it.
const FIELDS: [&str; 9] = [
    ":action",
    "protocol_version",
    "filetype",
    METADATA_VERSION,
    "name",
    "version",
    "md5_digest",
    "sha256_digest",
    "blake2_256_digest",
];
/// Maximum size of a compared field, in bytes.
const MAX_VALUE: usize = 1 << 10;
/// The field with the version of the metadata format. It must exist, as in PyPI's specification, but METADATA or PKG-INFO
/// states the version, which some clients convert.
const METADATA_VERSION: &str = "metadata_version";

/// The first line of a signature (RFC 9580, 6.2).
const SIGNATURE_START: &str = "-----BEGIN PGP SIGNATURE-----";
/// The last line of a signature.
const SIGNATURE_END: &str = "-----END PGP SIGNATURE-----";

/// The compared fields of an upload, and those that are stored with the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadForm {
    values: [Option<String>; FIELDS.len()],
    attestations: Option<Vec<u8>>,
    signature: Option<FormFile>,
    publisher: Option<TrustedPublisher>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FormFile {
    /// The file name, if the field has one.
    name: Option<String>,
    content: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUpload {
    /// The registration of a project, which old clients send. The message is PyPI's.
    #[error("Project pre-registration is no longer required or supported, upload your files instead.")]
    Registration,
    #[error("the upload has the :action '{0}'; file_upload is supported")]
    Action(String),
    #[error("Unknown protocol version.")]
    Protocol,
    #[error("the upload has no field {0}")]
    Missing(&'static str),
    #[error("the upload has the field {0} more than once")]
    Repeated(&'static str),
    #[error("the field {0} of the upload is not UTF-8 text of at most {MAX_VALUE} bytes")]
    Value(&'static str),
    #[error("the upload has no file; the field content is missing")]
    NoFile,
    #[error("the field content of the upload has no file name")]
    NoFileName,
    #[error("the upload has more than one file; upload each file separately")]
    SecondFile,
    #[error("the upload has more than {MAX_FIELDS} fields")]
    TooMany,
    #[error("the field {field} of the upload has more than {limit} bytes")]
    TooLong {
        field: String,
        /// The maximum size, in bytes.
        limit: u64,
    },
    #[error("the fields of the upload have more than {MAX_FIELD_SUM} bytes together")]
    TooLarge,
    /// The attestations are not valid, or not about the file. The message begins as PyPI's.
    #[error("Invalid attestations supplied during upload: {0}")]
    Attestations(String),
    /// The signature is that of another file.
    #[error(
        "the field gpg_signature of the upload is the file '{actual}'; that of this file is '{expected}'"
    )]
    SignatureName {
        /// The file name in the form.
        actual: String,
        /// The file name of a signature of the file.
        expected: String,
    },
    /// The signature has another form.
    #[error(
        "the field gpg_signature of the upload is not a signature that begins with '{SIGNATURE_START}' and ends with \
         '{SIGNATURE_END}', as gpg --armor --detach-sign writes it"
    )]
    Signature,
    #[error("the upload has the filetype '{declared}', but '{file}' is of the type {actual}")]
    FileType {
        /// The value in the form.
        declared: String,
        file: String,
        /// The type of the file.
        actual: &'static str,
    },
    #[error("the upload has the {field} '{declared}', but the package in '{file}' has '{actual}'")]
    Other {
        /// `name` or `version`.
        field: &'static str,
        /// The value in the form.
        declared: String,
        file: String,
        /// The value in the metadata of the file.
        actual: String,
    },
    #[error("the field {0} of the upload is not a digest in hexadecimal")]
    Digest(&'static str),
    /// The received bytes have a different digest.
    #[error(
        "the received file has a different digest than the field {field} declares ({actual}): the file was changed during the transfer; \
         upload it again"
    )]
    OtherDigest {
        field: &'static str,
        /// The digest of the received bytes.
        actual: String,
    },
}

impl UploadForm {
    pub fn compared_field(field: &str) -> Option<&'static str> {
        FIELDS.into_iter().find(|name| *name == field)
    }

    /// Sets a compared field; other fields are ignored.
    pub fn set(&mut self, field: &'static str, value: &[u8]) -> Result<(), BadUpload> {
        let Some(slot) = FIELDS.iter().position(|name| *name == field).and_then(|at| self.values.get_mut(at))
        else {
            return Ok(());
        };
        if slot.is_some() {
            return Err(BadUpload::Repeated(field));
        }
        let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= MAX_VALUE);
        *slot = Some(text.ok_or(BadUpload::Value(field))?.trim().to_owned());
        Ok(())
    }

    pub fn set_attestations(&mut self, content: Vec<u8>) -> Result<(), BadUpload> {
        match self.attestations.replace(content) {
            Some(_) => Err(BadUpload::Repeated(ATTESTATIONS)),
            None => Ok(()),
        }
    }

    /// Sets the field with a signature. `name` is its file name, if it has one.
    pub fn set_signature(&mut self, name: Option<String>, content: Vec<u8>) -> Result<(), BadUpload> {
        match self.signature.replace(FormFile { name, content }) {
            Some(_) => Err(BadUpload::Repeated(SIGNATURE)),
            None => Ok(()),
        }
    }

    /// Sets the job of a CI system that sends the form, for the provenance object.
    pub fn set_publisher(&mut self, publisher: Option<TrustedPublisher>) {
        self.publisher = publisher;
    }

    /// Takes the fields that are stored with the file, and checks that they belong to the file with this name and digest.
    /// The signature itself, and those of attestations, are not verified.
    pub fn take_attached(&mut self, file: &FileName, sha256: Sha256) -> Result<AttachedContent, BadUpload> {
        let signature = match self.signature.take() {
            Some(signature) => Some(check_signature(signature, file)?),
            None => None,
        };
        let provenance = match self.attestations.take() {
            Some(list) => Some(
                provenance::of_attestations(&list, file, sha256, self.publisher.as_ref())
                    .map_err(|error| BadUpload::Attestations(error.to_string()))?,
            ),
            None => None,
        };
        Ok(AttachedContent { signature, provenance })
    }

    /// Returns the value of a field; `None` if it is missing or empty.
    fn value(&self, field: &str) -> Option<&str> {
        let at = FIELDS.iter().position(|name| *name == field)?;
        self.values.get(at)?.as_deref().filter(|value| !value.is_empty())
    }

    fn required(&self, field: &'static str) -> Result<&str, BadUpload> {
        self.value(field).ok_or(BadUpload::Missing(field))
    }

    /// Checks action and protocol version. This check comes first, because requests of other kinds have no file.
    pub fn check_action(&self) -> Result<(), BadUpload> {
        match self.required(":action")? {
            "file_upload" => {}
            "submit" | "submit_pkg_info" => return Err(BadUpload::Registration),
            other => return Err(BadUpload::Action(excerpt(other))),
        }
        match self.value("protocol_version") {
            None | Some("1") => Ok(()),
            Some(_) => Err(BadUpload::Protocol),
        }
    }

    /// Compares the form with the name and the received bytes of the file.
    pub fn check_file(&self, file: &FileName, digests: &FileDigests) -> Result<(), BadUpload> {
        let (declared, actual) = (self.required("filetype")?, file.kind().package_type());
        if declared != actual {
            return Err(BadUpload::FileType { declared: excerpt(declared), file: file.to_string(), actual });
        }
        self.required(METADATA_VERSION)?;
        self.check_digest("sha256_digest", digests.sha256.0, &digests.sha256)?;
        self.check_digest("blake2_256_digest", digests.blake2.0, &digests.blake2)?;
        self.check_digest("md5_digest", digests.md5.0, &digests.md5)
    }

    /// Compares a digest. A digest may be missing: some systems, for example, have no MD5.
    fn check_digest<const N: usize>(
        &self,
        field: &'static str,
        actual: [u8; N],
        text: &dyn std::fmt::Display,
    ) -> Result<(), BadUpload> {
        let Some(declared) = self.value(field) else { return Ok(()) };
        match decode_digest::<N>(declared) {
            None => Err(BadUpload::Digest(field)),
            Some(declared) if declared == actual => Ok(()),
            Some(_) => Err(BadUpload::OtherDigest { field, actual: text.to_string() }),
        }
    }

    /// Compares the form with the project and the version in the metadata of the file, in any spelling.
    pub fn check_package(
        &self,
        file: &FileName,
        project: &ProjectName,
        version: &Pep440Version,
    ) -> Result<(), BadUpload> {
        let other = |field, declared: &str, actual: String| BadUpload::Other {
            field,
            declared: excerpt(declared),
            file: file.to_string(),
            actual,
        };
        let declared = self.required("name")?;
        if name::normalize(declared) != project.as_str() {
            return Err(other("name", declared, project.to_string()));
        }
        let declared = self.required("version")?;
        if Pep440Version::lenient(declared) != *version {
            return Err(other("version", declared, version.to_string()));
        }
        Ok(())
    }
}

/// Returns the content of a signature if its name and its form are those of a signature of the file.
fn check_signature(signature: FormFile, file: &FileName) -> Result<Vec<u8>, BadUpload> {
    let FormFile { name, content } = signature;
    let expected = format!("{file}{}", FilePart::Signature.suffix());
    if let Some(actual) = name.filter(|name| *name != expected) {
        return Err(BadUpload::SignatureName { actual: excerpt(&actual), expected });
    }
    let text = content.trim_ascii();
    let is_armored = text.starts_with(SIGNATURE_START.as_bytes()) && text.ends_with(SIGNATURE_END.as_bytes());
    if is_armored { Ok(content) } else { Err(BadUpload::Signature) }
}

/// Returns the beginning of a text that a client sent, for an error message.
fn excerpt(text: &str) -> String {
    text.escape_debug().take(80).collect()
}

/// Decodes a digest in hexadecimal, or in Base64, which old clients use for MD5. `None` if it is neither.
fn decode_digest<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if hex::decode_to_slice(text, &mut bytes).is_ok() {
        return Some(bytes);
    }
    let text = text.trim_end_matches('=');
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(text).or_else(|_| BASE64_STANDARD_NO_PAD.decode(text));
    decoded.ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::digest::FileHasher;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    /// Returns a form with these changes; a field with an empty value is missing.
    fn form(changes: &[(&'static str, &str)]) -> UploadForm {
        let mut form = UploadForm::default();
        let fields = [
            (":action", "file_upload"),
            ("filetype", "bdist_wheel"),
            ("metadata_version", "2.4"),
            ("name", "Odd.Name"),
            ("version", "1.0"),
        ];
        let is_changed = |field: &str| changes.iter().any(|(changed, _)| *changed == field);
        for (field, value) in
            fields.into_iter().filter(|(field, _)| !is_changed(field)).chain(changes.iter().copied())
        {
            let field = UploadForm::compared_field(field).expect("a compared field");
            form.set(field, value.as_bytes()).expect("once");
        }
        form
    }

    fn check(form: &UploadForm, file: &str) -> Result<(), String> {
        let file = FileName::parse(file).expect("a file name");
        let mut hasher = FileHasher::default();
        hasher.update(b"abc");
        form.check_action()
            .and_then(|()| form.check_file(&file, &hasher.finish()))
            .and_then(|()| {
                form.check_package(
                    &file,
                    &name::parse("odd-name").expect("a name"),
                    &Pep440Version::lenient("1.0"),
                )
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn forms_of_all_clients_agree_with_their_file() {
        let wheel = "odd_name-1.0-py3-none-any.whl";
        let table: [&[(&'static str, &str)]; 7] = [
            &[],
            &[("protocol_version", "1")],
            &[("metadata_version", "1.2")],
            &[("name", "odd-name"), ("version", "v1.0.0")],
            &[("md5_digest", "900150983cd24fb0d6963f7d28e17f72")],
            &[("md5_digest", "kAFQmDzST7DWlj99KOF_cg"), ("sha256_digest", "")],
            &[("blake2_256_digest", "BDDD813C634239723171EF3FEE98579B94964E3BB1CB3E427262C8C068D52319")],
        ];
        for changes in table {
            assert_eq!(check(&form(changes), wheel), Ok(()), "{changes:?}");
        }
        assert_eq!(check(&form(&[("filetype", "sdist")]), "odd_name-1.0.tar.gz"), Ok(()));
    }

    #[test]
    fn each_difference_has_its_sentence() {
        let wheel = "odd_name-1.0-py3-none-any.whl";
        let table: [(&[(&'static str, &str)], &str); 16] = [
            (&[(":action", "")], "the upload has no field :action"),
            (
                &[(":action", "submit")],
                "Project pre-registration is no longer required or supported, upload your files",
            ),
            (&[(":action", "submit_pkg_info")], "Project pre-registration"),
            (&[(":action", "doc_upload")], "the upload has the :action 'doc_upload'"),
            (&[("protocol_version", "2")], "Unknown protocol version."),
            (&[("filetype", "")], "the upload has no field filetype"),
            (
                &[("filetype", "sdist")],
                "the upload has the filetype 'sdist', but 'odd_name-1.0-py3-none-any.whl' is of the type bdist_wheel",
            ),
            (&[("metadata_version", "")], "the upload has no field metadata_version"),
            (&[("name", "")], "the upload has no field name"),
            (&[("version", "")], "the upload has no field version"),
            (&[("name", "odd")], "the upload has the name 'odd', but the package in"),
            (&[("version", "1.1")], "the upload has the version '1.1', but the package in"),
            (&[("md5_digest", "00")], "the field md5_digest of the upload is not a digest"),
            (
                &[("md5_digest", "00000000000000000000000000000000")],
                "the received file has a different digest than the field md5_digest declares (900150983cd24fb0d6963f7d28e17f72)",
            ),
            (
                &[("sha256_digest", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319")],
                "the received file has a different digest than the field sha256_digest",
            ),
            (
                &[("blake2_256_digest", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")],
                "the received file has a different digest than the field blake2_256_digest",
            ),
        ];
        for (changes, words) in table {
            let error = check(&form(changes), wheel).expect_err("refused");
            assert!(error.starts_with(words), "{changes:?}: {error}");
            // If a message contains the first text, Poetry registers a project; if it contains the second, Poetry
            // treats the file as existing.
            assert!(!error.contains("was ever registered") && !error.contains("already exist"), "{error}");
        }
    }

    #[test]
    fn compared_fields_are_short_texts_that_occur_once() {
        assert_eq!(UploadForm::compared_field("description"), None);
        let mut form = form(&[]);
        assert_eq!(form.set("name", b"other"), Err(BadUpload::Repeated("name")));
        assert_eq!(form.set("md5_digest", &[b'a'; MAX_VALUE + 1]), Err(BadUpload::Value("md5_digest")));
        assert_eq!(form.set("md5_digest", b"\xff"), Err(BadUpload::Value("md5_digest")));
    }

    const DIGEST: Sha256 = Sha256([0xab; 32]);

    fn attached(form: &mut UploadForm) -> Result<AttachedContent, String> {
        let file = FileName::parse("odd_name-1.0-py3-none-any.whl").expect("a file name");
        form.take_attached(&file, DIGEST).map_err(|error| error.to_string())
    }

    #[test]
    fn a_signature_has_the_name_of_the_file_and_the_form_of_gpg() {
        const SIGNATURE_TEXT: &str =
            "-----BEGIN PGP SIGNATURE-----\n\niQEzBAABCAAdFiEE\n=aBcD\n-----END PGP SIGNATURE-----\n";
        let signed = |name: Option<&str>, text: &str| {
            let mut form = form(&[]);
            form.set_signature(name.map(str::to_owned), text.as_bytes().to_vec()).expect("once");
            attached(&mut form)
        };
        let name = Some("odd_name-1.0-py3-none-any.whl.asc");
        for text in
            [SIGNATURE_TEXT.to_owned(), SIGNATURE_TEXT.replace('\n', "\r\n"), format!("\n{SIGNATURE_TEXT}\n")]
        {
            for name in [name, None] {
                let expected =
                    AttachedContent { signature: Some(text.clone().into_bytes()), provenance: None };
                assert_eq!(signed(name, &text), Ok(expected), "unchanged");
            }
        }
        for name in ["odd_name-1.0-py3-none-any.whl", "odd-name-1.0-py3-none-any.whl.asc", "../x.asc", ""] {
            let error = signed(Some(name), SIGNATURE_TEXT).expect_err("another name");
            let words = format!(
                "the field gpg_signature of the upload is the file '{name}'; that of this file is 'odd_name"
            );
            assert!(error.starts_with(&words), "{error}");
        }
        let cleartext = format!("-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n{SIGNATURE_TEXT}");
        let key = SIGNATURE_TEXT.replace("SIGNATURE", "PUBLIC KEY BLOCK");
        let cut = SIGNATURE_TEXT.split_at(40).0;
        for text in ["", "\u{89}\u{2}", "<html></html>", &*cleartext, &*key, cut] {
            let error = signed(name, text).expect_err("not a signature");
            assert!(
                error.starts_with("the field gpg_signature of the upload is not a signature that"),
                "{error}"
            );
        }
        let mut form = form(&[]);
        form.set_signature(None, Vec::new()).expect("once");
        assert_eq!(form.set_signature(None, Vec::new()), Err(BadUpload::Repeated("gpg_signature")));
        assert_eq!(attached(&mut UploadForm::default()), Ok(AttachedContent::default()));
    }

    #[test]
    fn attestations_become_a_provenance_object() {
        let statement = serde_json::json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "odd_name-1.0-py3-none-any.whl", "digest": { "sha256": DIGEST.to_string() } }],
        });
        let list = serde_json::json!([{
            "version": 1,
            "verification_material": { "certificate": "MII=", "transparency_entries": [{}] },
            "envelope": { "statement": BASE64_STANDARD.encode(statement.to_string()), "signature": "MEU=" },
        }]);
        let list = list.to_string();
        let mut form = form(&[]);
        form.set_attestations(list.clone().into_bytes()).expect("once");
        let mut repeated = form.clone();
        assert_eq!(repeated.set_attestations(Vec::new()), Err(BadUpload::Repeated("attestations")));
        let AttachedContent { signature, provenance } = attached(&mut form).expect("valid");
        let object = String::from_utf8(provenance.expect("an object")).expect("UTF-8");
        assert!(signature.is_none() && object.contains(&list), "{object}");
        for (list, words) in
            [("", "not a list"), ("[]", "the provenance object has no attestations"), ("[{}]", "not a list")]
        {
            form.set_attestations(list.as_bytes().to_vec()).expect("once");
            let error = attached(&mut form).expect_err(words);
            assert!(
                error.starts_with(&format!("Invalid attestations supplied during upload: {words}")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_digests_are_those_of_the_standards() {
        let mut hasher = FileHasher::default();
        for piece in [&b"a"[..], b"", b"bc"] {
            hasher.update(piece);
        }
        let digests = hasher.finish();
        assert_eq!(digests.md5.to_string(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            digests.sha256.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        // hashlib.blake2b(b"abc", digest_size=32), not the first half of BLAKE2b-512.
        assert_eq!(
            digests.blake2.to_string(),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"
        );
    }

    #[test]
    fn digests_are_read_in_both_forms() {
        let bytes = Some([0xfb_u8; 16]);
        for text in [
            "fb".repeat(16),
            "FB".repeat(16),
            format!("{}-w==", "-_v7".repeat(5)),
            format!("{}+w", "+/v7".repeat(5)),
        ] {
            assert_eq!(decode_digest::<16>(&text), bytes, "{text}");
        }
        for bad in ["", "fb", &"fb".repeat(17), "not a digest"] {
            assert_eq!(decode_digest::<16>(bad), None, "{bad}");
        }
    }
}
