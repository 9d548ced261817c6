//! The addresses below a snapshot of a repository with projects, and the links to its files.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use super::digest::Sha256;
use super::project_name::ProjectName;

/// Characters besides letters and digits that are not encoded in links.
const UNENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'!');

/// A parsed path. `{directory}` is that of the language, such as `simple`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProjectPath {
    /// `{directory}/`: the names of all projects.
    List,
    /// `{directory}/{project}/`: the page of a project.
    Page(ProjectName),
    /// A redirect to this path: from the directory or a page without the final slash, from a JSON document with one, or
    /// from another spelling of the project.
    Redirect(Box<ProjectPath>),
    /// `packages/{sha256}/{file}` in every language, or an attached file.
    File { sha256: Sha256, file: Box<str>, part: FilePart },
    /// The address of a file that needs no page, if the language has such addresses.
    Named {
        project: ProjectName,
        file: Box<str>,
        /// As the name of the file states it.
        version: Option<Box<str>>,
    },
    /// `pypi/{project}/json` or `pypi/{project}/{version}/json`: a document of PyPI's JSON API, which only Python has.
    Json {
        project: ProjectName,
        /// The version, as in the address; `None` for the version that installers prefer.
        version: Option<Box<str>>,
    },
}

/// A distribution, or a file attached to it: its name has a suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilePart {
    Distribution,
    /// `.metadata`: METADATA of a wheel (PEP 658).
    Metadata,
    /// `.asc`: a signature.
    Signature,
    /// `.provenance`: the provenance object (PEP 740).
    Provenance,
}

impl FilePart {
    const ATTACHED: [FilePart; 3] = [FilePart::Metadata, FilePart::Signature, FilePart::Provenance];

    pub fn suffix(self) -> &'static str {
        match self {
            FilePart::Distribution => "",
            FilePart::Metadata => ".metadata",
            FilePart::Signature => ".asc",
            FilePart::Provenance => ".provenance",
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            FilePart::Distribution => "application/octet-stream",
            FilePart::Metadata => "text/plain; charset=utf-8",
            FilePart::Signature => "application/pgp-signature",
            FilePart::Provenance => "application/vnd.pypi.integrity.v1+json",
        }
    }

    /// Splits the last segment of an address into the name of the distribution and the part.
    pub fn split(segment: &str) -> (&str, FilePart) {
        let attached = FilePart::ATTACHED.into_iter();
        let attached = attached.filter_map(|part| Some((segment.strip_suffix(part.suffix())?, part))).next();
        attached.unwrap_or((segment, FilePart::Distribution))
    }
}

/// Parses a digest in lower case, so that every file has one address.
pub fn parse_digest(segment: &str) -> Option<Sha256> {
    let digest: Sha256 = segment.parse().ok()?;
    (digest.to_string() == segment).then_some(digest)
}

/// Encodes a segment of a link: all characters except letters, digits and `-._~!`.
pub fn encoded(segment: &str) -> PercentEncode<'_> {
    utf8_percent_encode(segment, UNENCODED)
}

/// Returns the address of a distribution relative to the page of its project: the same in every repository and
/// snapshot, and below every prefix.
pub fn link(sha256: Sha256, file: &str) -> String {
    let mut link = String::with_capacity(80 + file.len());
    push_link(sha256, file, &mut link);
    link
}

/// Appends the address that [`link`] returns.
pub fn push_link(sha256: Sha256, file: &str, out: &mut String) {
    out.push_str("../../packages/");
    out.push_str(std::str::from_utf8(&sha256.digits()).unwrap_or_default());
    out.push('/');
    out.extend(encoded(file));
}

/// Returns a second address of a distribution, relative to the root of the server, for programs that mirror PyPI: they
/// accept only paths that begin with `/packages/`. `repository` is `{repository}/{snapshot}`.
pub fn root_link(repository: &str, sha256: Sha256, file: &str) -> String {
    format!("packages/{repository}/{sha256}/{}", encoded(file))
}

/// Returns the address of the provenance object of a distribution. `base` is the URL of the directory with the files of a
/// repository, such as `https://host/packages/py/latest`.
pub fn provenance_link(base: &str, sha256: Sha256, file: &str) -> String {
    format!("{base}/{sha256}/{}{}", encoded(file), FilePart::Provenance.suffix())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_encoded() {
        let (sha256, file) = (Sha256([10; 32]), "odd-1!1.0+x y.tar.gz");
        let hex = "0a".repeat(32);
        assert_eq!(link(sha256, file), format!("../../packages/{hex}/odd-1!1.0%2Bx%20y.tar.gz"));
        assert_eq!(
            root_link("py/latest", sha256, file),
            format!("packages/py/latest/{hex}/odd-1!1.0%2Bx%20y.tar.gz")
        );
        assert_eq!(
            provenance_link("https://h/packages/py/latest", sha256, file),
            format!("https://h/packages/py/latest/{hex}/odd-1!1.0%2Bx%20y.tar.gz.provenance")
        );
        assert_eq!(parse_digest(&hex), Some(sha256));
        assert_eq!(parse_digest(&hex.to_uppercase()), None);
    }
}
