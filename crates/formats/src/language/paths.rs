//! The addresses of a language with projects.

use super::{Rules, with_projects};
use base::model::project_path::{FilePart, ProjectPath, parse_digest};

pub trait ProjectPaths: Rules {
    /// Parses the segments below a snapshot; `None` if the first ones are not those of the language. Called for the paths
    /// of all repositories, before the repository is known. The error is a text for the client.
    fn parse_path(&self, segments: &[&str]) -> Option<Result<ProjectPath, String>> {
        parse_pages(self, segments)
    }
}

/// Parses the address of the list or of a page, below the directory of the language.
pub(super) fn parse_pages(
    rules: &(impl Rules + ?Sized),
    segments: &[&str],
) -> Option<Result<ProjectPath, String>> {
    let [directory, rest @ ..] = segments else { return None };
    if *directory != rules.nouns().directory {
        return None;
    }
    let redirect = |path| ProjectPath::Redirect(Box::new(path));
    let page = |name: &str| rules.project_name(name).map_err(|error| error.to_string());
    Some(match rest {
        [] => Ok(redirect(ProjectPath::List)),
        [""] => Ok(ProjectPath::List),
        [name] => page(name).map(|project| redirect(ProjectPath::Page(project))),
        [name, ""] => page(name).map(|project| {
            let is_folded = project.as_str() == *name;
            let path = ProjectPath::Page(project);
            if is_folded { path } else { redirect(path) }
        }),
        _ => Err(unknown(rules, segments)),
    })
}

/// Returns the text for a path that is none of the language.
pub(super) fn unknown(rules: &(impl Rules + ?Sized), segments: &[&str]) -> String {
    let (path, nouns) = (segments.join("/"), rules.nouns());
    format!(
        "'{}' is not a path of {}; expected {directory}/, {directory}/{{project}}/ or packages/…/{{file}}",
        path.chars().take(120).collect::<String>(),
        nouns.a_repository,
        directory = nouns.directory
    )
}

/// Parses the segments after `packages/` in the address of a file, whose form is the same in all languages with
/// projects. Refuses a file that is of none of them.
pub fn parse_file_path(id: &str, name: &str) -> Result<ProjectPath, String> {
    let (file, part) = FilePart::split(name);
    let sha256 = parse_digest(id).ok_or_else(|| {
        let id: String = id.chars().take(80).collect();
        format!(
            "'{id}' is not a file of this repository; addresses of files are on the page of their project"
        )
    })?;
    let mut refusals: Vec<String> = Vec::new();
    for (language, projects) in with_projects() {
        match projects.check_name(file) {
            Ok(()) => return Ok(ProjectPath::File { sha256, file: file.into(), part }),
            Err(refusal) => refusals.extend(language.is_listed().then_some(refusal)),
        }
    }
    Err(refusals.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_digest_in_the_address_and_attached_ones_a_suffix() {
        let hex = "0a".repeat(32);
        for (name, file, part) in [
            ("odd-1.0+x-py3-none-any.whl", "odd-1.0+x-py3-none-any.whl", FilePart::Distribution),
            ("odd-1.0-py3-none-any.whl.metadata", "odd-1.0-py3-none-any.whl", FilePart::Metadata),
            ("odd-1.0.tar.gz.asc", "odd-1.0.tar.gz", FilePart::Signature),
            ("odd-1.0.tar.gz.provenance", "odd-1.0.tar.gz", FilePart::Provenance),
        ] {
            let ProjectPath::File { sha256, file: parsed, part: of } =
                parse_file_path(&hex, name).expect(name)
            else {
                panic!("{name}")
            };
            assert_eq!((sha256.to_string(), &*parsed, of), (hex.clone(), file, part));
        }
        let upper = hex.to_uppercase();
        for (id, name) in [
            ("x", "a-1.whl"),
            (upper.as_str(), "a-1.whl"),
            (hex.as_str(), "a.txt"),
            (hex.as_str(), "a-1.whl.metadata.asc"),
            (hex.as_str(), ".metadata"),
        ] {
            assert!(parse_file_path(id, name).is_err(), "{id} {name}");
        }
    }
}
