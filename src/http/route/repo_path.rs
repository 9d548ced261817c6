//! The part of an address after the snapshot: a variant for each layout of repositories, by language. No I/O.

use crate::http::error::Failure;
use base::model::kind::Language;
use base::model::project_path::{ProjectPath, parse_digest};
use formats::language;
use formats::r::bioconductor::{self, Component, PartName};
use formats::r::layout::{self, IndexFormat, RPath, RepoFileName};
use formats::tlog::record_proof::Member;

/// The directory of all Bioconductor versions, and of the files of projects.
pub(super) const PACKAGES: &str = "packages";

/// The end of the address of a proof from the log.
const PROOF: &str = ".proof";

/// The parsed part of an address after the snapshot. Only its first segments determine the layout; whether the
/// repository has that layout is checked when the address is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepoPath {
    /// A path in a repository of R packages.
    R {
        /// The segment after `__linux__`, a distribution whose binaries are served for source packages; may not exist.
        linux: Option<String>,
        path: RPath,
    },
    /// `packages/{version}/{component}/` and a path below it, in a Bioconductor repository.
    Bioconductor {
        /// The segment after `__linux__`, as for R.
        linux: Option<String>,
        /// The version and the component.
        part: PartName,
        path: RPath,
    },
    /// `src/contrib/PACKAGES.proof`, `src/contrib/{file}.proof`, also of a part of Bioconductor, and
    /// `packages/{sha256}/{file}.proof`: the proof from the log that the snapshot had it.
    Proof {
        part: Option<PartName>,
        /// `None` for the index.
        member: Option<Member>,
    },
    /// A path in a repository with projects.
    Projects {
        /// The language that has this address; `None` if all languages with projects have it.
        language: Option<Language>,
        path: ProjectPath,
    },
}

impl RepoPath {
    /// Parses the segments after the snapshot; `linux` is the segment after `__linux__`. `None` for a directory that is
    /// opened in a browser: the directory of the snapshot, or of a part of Bioconductor.
    pub(super) fn parse(linux: Option<&str>, rest: &[&str]) -> Result<Option<RepoPath>, Failure> {
        if let (None, [PACKAGES, id, name]) = (linux, rest)
            && let (Some(sha256), Some(name)) = (parse_digest(id), name.strip_suffix(PROOF))
        {
            let member = Member::File { name: name.to_owned(), sha256: sha256.to_string() };
            return Ok(Some(RepoPath::Proof { part: None, member: Some(member) }));
        }
        if let Some((language, path)) = parse_projects(rest) {
            if linux.is_some() {
                return Err(for_lists(language));
            }
            let path = path.map_err(Failure::not_found)?;
            return Ok(Some(RepoPath::Projects { language, path }));
        }
        let (part, rest) = match rest {
            [PACKAGES, below @ ..] => {
                let (part, rest) = bioconductor::split_path(below).ok_or_else(unknown_part)?;
                (Some(part), rest)
            }
            rest => (None, rest),
        };
        if let [] | [""] = rest {
            return Ok(None);
        }
        if let (None, ["src", "contrib", name]) = (linux, rest)
            && let Some(name) = name.strip_suffix(PROOF)
        {
            let file = RepoFileName::parse(name);
            let member = file.as_ref().and_then(RepoFileName::package_file).map(|file| Member::Package {
                package: file.package.to_owned(),
                version: file.version.to_owned(),
            });
            return match member.is_some() || name == IndexFormat::Text.file_name() {
                true => Ok(Some(RepoPath::Proof { part, member })),
                false => Err(Failure::not_found(
                    "proofs are of PACKAGES and of the files of packages that it lists",
                )),
            };
        }
        let path = layout::parse(&rest.join("/")).map_err(|e| Failure::not_found(e.to_string()))?;
        let linux = linux.map(str::to_owned);
        Ok(Some(match part {
            None => RepoPath::R { linux, path },
            Some(part) => RepoPath::Bioconductor { linux, part, path },
        }))
    }
}

/// Parses a path of a language with projects; `None` if the first segments are those of a list of packages. A file has a
/// digest instead of a Bioconductor version, and the same address in all languages.
fn parse_projects(rest: &[&str]) -> Option<(Option<Language>, Result<ProjectPath, String>)> {
    match rest {
        [PACKAGES, id, file] if id.len() == 64 => Some((None, language::parse_file_path(id, file))),
        rest => language::with_projects()
            .find_map(|(language, projects)| Some((Some(language), projects.parse_path(rest)?))),
    }
}

/// Returns the 404 failure for an address of a language, or of all, below that of a distribution.
fn for_lists(language: Option<Language>) -> Failure {
    let named =
        language::with_projects().filter(|(other, _)| language.map_or(other.is_listed(), |of| of == *other));
    let addresses = named.map(|(other, projects)| {
        let (label, directory) = (other.label(), projects.nouns().directory);
        format!("those of {label} packages are /{{repository}}/{{snapshot}}/{directory}/")
    });
    let addresses = addresses.collect::<Vec<_>>().join(", ");
    Failure::not_found(format!("addresses with __linux__ are for R packages; {addresses}"))
}

/// Returns the 404 failure for an unknown Bioconductor repository, such as `container-binaries`, which BiocManager
/// requests in a container and ignores on a 404.
fn unknown_part() -> Failure {
    let components = Component::ALL.map(Component::path).join(", ");
    Failure::not_found(format!(
        "Bioconductor has the repositories {components} below packages/{{version}}/, where a version is two numbers, \
         release or devel"
    ))
}
