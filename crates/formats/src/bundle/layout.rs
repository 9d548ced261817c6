//! Defines all paths of a bundle: relative, in lower case except for versions, and valid on Windows.

use std::fmt;

use crate::r::platform::Platform;
use base::model::digest::Sha256;
use base::model::kind::{Language, Layout};

/// The schema of CRAN, in the directory `v3`.
pub const CRAN_SCHEMA: u32 = 3;
/// The schema of Bioconductor, in the directory `bioc/v4`.
pub const BIOCONDUCTOR_SCHEMA: u32 = 4;
/// The schema of lists of binaries, below `bindex`.
pub const BINARIES_SCHEMA: u32 = 1;

/// The schema of languages with projects, in directories such as `pypi/v1`.
pub const PROJECTS_SCHEMA: u32 = 1;

/// The name of the head, the mutable file that lists the other files of its directory.
pub const HEAD: &str = "head.json";
/// The directory of earlier heads, one per day.
pub const HEADS: &str = "heads";
pub const SEGMENTS: &str = "log";
pub const READMES: &str = "doc";
/// The directory of the notes that sign heads.
pub const NOTES: &str = "sig";
/// The extension of the METADATA of a wheel. The name of its object is the digest of the wheel.
pub const METADATA_EXTENSION: &str = "metadata";
/// The extension of the provenance object of a file. The name of its object is the digest of the file.
pub const PROVENANCE_EXTENSION: &str = "provenance";
/// The file with the versions of Bioconductor.
pub const BIOCONDUCTOR_CONFIG: &str = "bioc/v4/config.json";

/// A part of a bundle with its own head, segments and objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Product {
    Cran,
    /// Source packages of a version of Bioconductor, such as `3.20`.
    Bioconductor(String),
    /// Binaries for a platform, by its tag, such as `4.5-noble`.
    Binaries(String),
    /// A language with projects, named after the kind of its built-in source: `pypi`.
    Projects(Language),
}

impl Product {
    /// Parses the `Display` form of a product; `None` for any other text.
    pub fn parse(name: &str) -> Option<Product> {
        match name.split_once('/') {
            None if name == "cran" => Some(Product::Cran),
            None => {
                let is_named = |language: &Language| {
                    language.layout() == Layout::Projects && language.mirror().as_str() == name
                };
                Language::ALL.into_iter().find(is_named).map(Product::Projects)
            }
            Some(("bioconductor", version)) => {
                is_bioconductor_version(version).then(|| Product::Bioconductor(version.to_owned()))
            }
            Some(("binaries", tag)) => Platform::parse(tag).map(|_| Product::Binaries(tag.to_owned())),
            Some(_) => None,
        }
    }

    pub fn schema(&self) -> u32 {
        match self {
            Product::Cran => CRAN_SCHEMA,
            Product::Bioconductor(_) => BIOCONDUCTOR_SCHEMA,
            Product::Binaries(_) => BINARIES_SCHEMA,
            Product::Projects(_) => PROJECTS_SCHEMA,
        }
    }

    /// Returns the directory of its head.
    pub fn root(&self) -> String {
        match self {
            Product::Cran => "v3/1".to_owned(),
            Product::Bioconductor(version) => format!("bioc/v4/{version}"),
            Product::Binaries(tag) => format!("bindex/{tag}"),
            Product::Projects(_) => format!("{self}/v1/1"),
        }
    }

    pub fn objects_dir(&self) -> String {
        match self {
            Product::Cran | Product::Bioconductor(_) | Product::Projects(_) => format!("{}/obj", self.root()),
            Product::Binaries(tag) => format!("bin/{tag}"),
        }
    }

    pub fn head_path(&self) -> String {
        format!("{}/{HEAD}", self.root())
    }

    /// Returns the path of the head of a day, such as `2026-11-20`. The names for complete and incremental bundles
    /// differ, so that an incremental bundle can be copied over a bundle of the same day.
    pub fn dated_head_path(&self, day: impl fmt::Display, is_incremental: bool) -> String {
        let suffix = if is_incremental { "-difference" } else { "" };
        format!("{}/{HEADS}/{day}{suffix}.json", self.root())
    }

    /// Returns the path of a file that a head lists relative to itself.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root())
    }

    pub fn object_path(&self, sha256: Sha256, extension: &str) -> String {
        let name = sha256.to_string();
        format!("{}/{}/{name}.{extension}", self.objects_dir(), &name[..2])
    }

    /// Returns the path and the content of the file that shows that the bundle has the product; `None` for binaries,
    /// which only have a head.
    pub fn marker(&self) -> Option<(String, &'static str)> {
        match self {
            Product::Cran => Some(("v3/version.txt".to_owned(), "3\n")),
            Product::Bioconductor(_) => Some(("bioc/v4/version.txt".to_owned(), "4\n")),
            Product::Binaries(_) => None,
            Product::Projects(_) => Some((format!("{self}/v1/version.txt"), "1\n")),
        }
    }
}

/// Writes a name such as `cran`, `bioconductor/3.20`, `binaries/4.5-noble` or `pypi`.
impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Product::Cran => f.write_str("cran"),
            Product::Bioconductor(version) => write!(f, "bioconductor/{version}"),
            Product::Binaries(tag) => write!(f, "binaries/{tag}"),
            Product::Projects(language) => f.write_str(language.mirror().as_str()),
        }
    }
}

/// Returns the path of the note that signs a file with this digest, beside the file. A head and its copies have one note.
pub fn note_path(file: &str, sha256: Sha256) -> String {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let folder = folder.strip_suffix(HEADS).unwrap_or(folder).trim_end_matches('/');
    format!("{folder}/{NOTES}/{sha256}.note")
}

/// Returns whether a path can be that of a note.
pub fn is_note(path: &str) -> bool {
    let digest = path.strip_suffix(".note").and_then(|path| path.rsplit_once(&format!("/{NOTES}/")));
    digest
        .is_some_and(|(_, digest)| digest.parse::<Sha256>().is_ok_and(|sha256| sha256.to_string() == digest))
}

/// Returns the path of an immutable metadata file, relative to its head. The name contains the first 16 digits of the
/// digest. An empty `folder` means the directory of the head.
pub fn immutable_path(folder: &str, stem: impl fmt::Display, sha256: Sha256, extension: &str) -> String {
    let name = format!("{stem}-{}.{extension}", &sha256.to_string()[..16]);
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

/// Returns the path of the object for an address `{object}/{file name}` on a page that was generated from a bundle
/// (installers take the name from its end); with `.metadata` at the end, that of METADATA. `None` for other paths.
pub fn object_of_page(path: &str) -> Option<String> {
    let (object, name) = path.rsplit_once('/')?;
    let (folder, object_name) = object.rsplit_once('/')?;
    let (objects, prefix) = folder.rsplit_once('/')?;
    let word = objects.strip_suffix("/v1/1/obj")?.rsplit('/').next()?;
    let is_of_projects = matches!(Product::parse(word), Some(Product::Projects(_)));
    let (digest, _) = object_name.split_once('.')?;
    let is_digest = digest.parse::<Sha256>().is_ok_and(|sha256| sha256.to_string() == digest);
    if !is_of_projects || !is_digest || !digest.starts_with(prefix) {
        return None;
    }
    Some(match name.strip_suffix(".metadata") {
        Some(_) => format!("{folder}/{digest}.{METADATA_EXTENSION}"),
        None => object.to_owned(),
    })
}

/// Returns whether a path in a head is below its directory, and of lower-case letters, digits, `.`, `-` and `_`.
pub fn is_safe_path(path: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    path.len() <= 200
        && path
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_allowed))
}

/// Returns whether a text is a version of Bioconductor: two numbers, separated by a dot.
pub fn is_bioconductor_version(text: &str) -> bool {
    let is_number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_has_one_name_and_one_path() {
        for (name, root, objects) in [
            ("cran", "v3/1", "v3/1/obj"),
            ("bioconductor/3.20", "bioc/v4/3.20", "bioc/v4/3.20/obj"),
            ("binaries/4.5-noble", "bindex/4.5-noble", "bin/4.5-noble"),
            ("pypi", "pypi/v1/1", "pypi/v1/1/obj"),
        ] {
            let product = Product::parse(name).expect(name);
            assert_eq!(
                (product.to_string(), product.root(), product.objects_dir()),
                (name.into(), root.into(), objects.into())
            );
        }
        for bad in ["", "pypi/1", "bioconductor/3", "bioconductor/../x", "binaries/x", "cran/1"] {
            assert_eq!(Product::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_of_pages_lead_to_objects() {
        let (digest, name) = ("ab".repeat(32), "odd-1.0-py3-none-any.whl");
        for above in ["", "/", "/srv/b/", "bundles/x/"] {
            let folder = format!("{above}pypi/v1/1/obj/ab");
            let object = format!("{folder}/{digest}.whl");
            assert_eq!(object_of_page(&format!("{object}/{name}")), Some(object.clone()));
            let metadata = object_of_page(&format!("{object}/{name}.metadata"));
            assert_eq!(metadata, Some(format!("{folder}/{digest}.metadata")));
        }
        for bad in [
            "packages/ab/odd-1.0-py3-none-any.whl".to_owned(),
            format!("pypi/v1/1/obj/ab/{digest}.whl"),
            format!("xpypi/v1/1/obj/ab/{digest}.whl/{name}"),
            format!("pypi/v1/1/obj/cd/{digest}.whl/{name}"),
            format!("pypi/v1/1/obj/ab/{}.whl/{name}", &digest[1..]),
        ] {
            assert_eq!(object_of_page(&bad), None, "{bad}");
        }
    }

    #[test]
    fn objects_are_spread_over_256_folders() {
        let path = Product::Cran.object_path(Sha256([0xab; 32]), "tar.gz");
        assert_eq!(path, format!("v3/1/obj/ab/{}.tar.gz", "ab".repeat(32)));
    }

    #[test]
    fn a_head_cannot_name_a_path_outside_its_directory() {
        assert!(is_safe_path("log/1763658000-0123456789abcdef.ndjson.zst"));
        for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", "A", "a\\b", ".lock", "c:x", "a/.tmp"] {
            assert!(!is_safe_path(bad), "{bad}");
        }
    }
}
