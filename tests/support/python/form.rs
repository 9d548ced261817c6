//! Uploads as twine sends them.

use sha2::Digest;

use super::package::Package;
use crate::support::access::basic;
use crate::support::http::{self, Answer};
use crate::support::server::Server;

pub(crate) const BOUNDARY: &str = "4f1c0d6c9a5b4e0f8b4f1c0d6c9a5b4e";

/// A part of a form: field, file name, content.
#[derive(Clone)]
pub(crate) struct Part(pub(crate) String, pub(crate) Option<String>, pub(crate) Vec<u8>);

/// A form for the upload of a file.
#[derive(Clone)]
pub(crate) struct Form(pub(crate) Vec<Part>);

impl Form {
    /// The form for a wheel of a package.
    pub(crate) fn wheel(package: &Package) -> Form {
        Form::file(package, &package.wheel_name(), package.wheel())
            .with("filetype", "bdist_wheel")
            .with("pyversion", "py3")
    }

    /// The form for a source distribution of a package.
    pub(crate) fn sdist(package: &Package) -> Form {
        Form::file(package, &package.sdist_name(), package.sdist())
            .with("filetype", "sdist")
            .with("pyversion", "source")
    }

    /// The form for these bytes, without the type.
    pub(crate) fn file(package: &Package, name: &str, bytes: Vec<u8>) -> Form {
        let sha256 = hex::encode(sha2::Sha256::digest(&bytes));
        let md5 = hex::encode(md5::Md5::digest(&bytes));
        let content = Part("content".to_owned(), Some(name.to_owned()), bytes);
        Form(vec![content])
            .with("metadata_version", "2.2")
            .with("name", &package.name)
            .with("version", &package.version)
            .with("description", "Text with \"quotes\", ü and\r\nlines\r\n--4f1c")
            .with("classifiers", "A :: B")
            .with("classifiers", "A :: C")
            .with("sha256_digest", &sha256)
            .with("md5_digest", &md5)
            .with("protocol_version", "1")
            .with(":action", "file_upload")
    }

    /// Adds a field before the file.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Form {
        self.0.insert(self.0.len() - 1, Part(name.to_owned(), None, value.as_bytes().to_vec()));
        self
    }

    /// Adds a signature of the file, as twine sends it.
    pub(crate) fn signed(mut self, name: &str, signature: &str) -> Form {
        let part = Part("gpg_signature".to_owned(), Some(name.to_owned()), signature.as_bytes().to_vec());
        self.0.insert(self.0.len() - 1, part);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Form {
        self.0.retain(|part| part.0 != name);
        self
    }

    /// Replaces the value of a field.
    pub(crate) fn set(self, name: &str, value: &str) -> Form {
        self.without(name).with(name, value)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Part(name, file, content) in &self.0 {
            let file = file.as_ref().map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
            bytes.extend_from_slice(
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n")
                    .as_bytes(),
            );
            bytes.extend_from_slice(content);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        bytes
    }

    pub(crate) fn send(&self, server: &Server, token: &str) -> Answer {
        send(server, "/upload/pypi/team", Some(token), &self.encode())
    }
}

/// The value of Content-Type.
pub(crate) fn content_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// The value of Authorization.
pub(crate) fn authorization(token: &str) -> String {
    basic("__token__", token)
}

/// Posts a form.
pub(crate) fn send(server: &Server, path: &str, token: Option<&str>, body: &[u8]) -> Answer {
    let (kind, authorization) = (content_type(), token.map(authorization));
    let mut headers = vec![("Content-Type", &*kind)];
    headers.extend(authorization.as_deref().map(|value| ("Authorization", value)));
    http::request("POST", &server.url(path), &headers, body)
}

/// A token of `rspm create token`.
pub(crate) fn token(server: &Server, flags: &str) -> String {
    server.rspm_stdout(&format!("create token --description=test --quiet {flags}")).trim().to_owned()
}

/// A token that may write the source `team`.
pub(crate) fn publisher(server: &Server) -> String {
    token(server, "--scope=sources:write --sources=team --user=ann")
}
