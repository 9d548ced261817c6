//! Chooses versions and files of a Python project: for each environment the newest version with a file for it. Pure.

use std::collections::BTreeMap;

use formats::bundle::FilesRule;
use formats::python::closure::{ProjectRequirement, allow_all};
use formats::python::environment::Environment;
use formats::python::selection::{self, FileCandidate};
use formats::python::simple::page::{PageFile, ProjectPage};
use formats::python::target::BadTarget;
use formats::python::version::Pep440Version;

/// The environments for which wheels are chosen.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Every requested version of Python on every requested platform.
    pub(super) environments: Vec<Environment>,
    /// The rule as the head states it.
    pub(super) files: FilesRule,
}

impl Rule {
    /// Parses versions of Python and platform tags; an empty list stands for all.
    pub(super) fn parse(pythons: &[String], platforms: &[String]) -> Result<Rule, BadTarget> {
        let files = FilesRule { platforms: platforms.to_vec(), pythons: pythons.to_vec(), sdists: true };
        Ok(Rule { environments: selection::environments(pythons, platforms)?, files })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChosenFile {
    pub(super) name: String,
    pub(super) version: String,
}

pub(super) fn version_of(page: &ProjectPage, file: &PageFile) -> Option<String> {
    let listed = file.name.version(&page.name, page.versions.as_deref());
    listed.or_else(|| file.name.version(&page.name, None))
}

/// Returns the files that satisfy all requirements: for each environment those of the newest version that has any. A
/// file for which the page declares no SHA-256 satisfies no requirement with digests.
pub(super) fn choose(
    page: &ProjectPage,
    requirements: &[&ProjectRequirement],
    rule: &Rule,
) -> Vec<ChosenFile> {
    let names_pre_release = requirements.iter().any(|requirement| requirement.names_pre_release());
    let allowed_files: Vec<(Pep440Version, String, &PageFile)> = page
        .offered_files()
        .iter()
        .filter_map(|file| {
            let text = version_of(page, file)?;
            Some((Pep440Version::lenient(&text), text, file))
        })
        .filter(|(version, _, file)| allow_all(requirements, version, file.sha256(), file.yanked.is_some()))
        .collect();
    let candidates: Vec<FileCandidate<'_>> = allowed_files
        .iter()
        .map(|(version, _, file)| FileCandidate {
            name: &file.name,
            version: version.clone(),
            requires_python: file.requires_python.as_deref(),
        })
        .collect();
    let chosen = selection::newest(&candidates, &rule.environments, names_pre_release);
    let files: BTreeMap<&str, &str> = chosen
        .into_iter()
        .filter_map(|position| allowed_files.get(position))
        .map(|(_, version, file)| (file.name.as_str(), version.as_str()))
        .collect();
    let chosen_file =
        |(name, version): (&str, &str)| ChosenFile { name: name.to_owned(), version: version.to_owned() };
    files.into_iter().map(chosen_file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::digest::Sha256;
    use formats::python::file_name::FileName;
    use formats::python::name;
    use formats::python::simple::page::Yank;

    fn page(files: &[(&str, &str)]) -> ProjectPage {
        let mut page = ProjectPage::new(name::parse("odd").expect("a name"));
        for (name, requires_python) in files {
            let mut file = PageFile::new(FileName::parse(name).expect(name), format!("http://h/{name}"));
            file.hashes.insert("sha256".to_owned(), "ab".repeat(32));
            file.requires_python = Some((*requires_python).to_owned()).filter(|text| !text.is_empty());
            page.files.push(file);
        }
        page
    }

    fn requirement(versions: &str) -> ProjectRequirement {
        let any = ProjectRequirement::any(name::parse("odd").expect("a name"));
        ProjectRequirement { versions: versions.parse().expect(versions), ..any }
    }

    fn names(
        page: &ProjectPage,
        requirements: &[&ProjectRequirement],
        pythons: &[&str],
        platforms: &[&str],
    ) -> Vec<String> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let rule = Rule::parse(&texts(pythons), &texts(platforms)).expect("targets");
        choose(page, requirements, &rule).into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn the_newest_allowed_version_is_taken_for_each_environment() {
        let page = page(&[
            ("odd-1.0.tar.gz", ""),
            ("odd-1.0-py3-none-any.whl", ""),
            ("odd-2.0.tar.gz", ">=3.12"),
            ("odd-2.0-cp312-cp312-manylinux_2_17_x86_64.whl", ">=3.12"),
            ("odd-2.0-cp312-cp312-win_amd64.whl", ">=3.12"),
            ("odd-3.0rc1.tar.gz", ""),
            ("odd-0.9.exe", ""),
        ]);
        let any = requirement("");
        let newest = [
            "odd-2.0-cp312-cp312-manylinux_2_17_x86_64.whl",
            "odd-2.0-cp312-cp312-win_amd64.whl",
            "odd-2.0.tar.gz",
        ];
        assert_eq!(names(&page, &[&any], &[], &[]), newest);
        assert_eq!(names(&page, &[&any], &["3.12"], &["win_amd64"]), newest[1..]);
        let old = ["odd-1.0-py3-none-any.whl", "odd-1.0.tar.gz"];
        assert_eq!(names(&page, &[&any], &["3.11"], &["win_amd64"]), old);
        assert_eq!(names(&page, &[&any], &["3.11", "3.12"], &["win_amd64", "any"]).len(), 4);
        assert_eq!(names(&page, &[&requirement("<2")], &[], &[]), old);
        assert_eq!(names(&page, &[&any, &requirement("<2")], &[], &[]), old);
        assert_eq!(names(&page, &[&requirement(">=3.0rc1")], &[], &[]), ["odd-3.0rc1.tar.gz"]);
        assert!(names(&page, &[&requirement("<0.5")], &[], &[]).is_empty());
    }

    #[test]
    fn yanked_files_and_files_without_a_required_digest_are_left_out() {
        let mut page = page(&[("odd-1.0.tar.gz", ""), ("odd-2.0.tar.gz", ""), ("odd-3.0.tar.gz", "")]);
        page.files[1].yanked = Some(Yank::default());
        page.files[2].hashes.clear();
        assert_eq!(names(&page, &[&requirement("")], &[], &[]), ["odd-3.0.tar.gz"]);
        assert_eq!(names(&page, &[&requirement("==2.0")], &[], &[]), ["odd-2.0.tar.gz"]);
        let other = ProjectRequirement { digests: vec![Sha256([1; 32])], ..requirement("") };
        assert!(names(&page, &[&other], &[], &[]).is_empty());
        let same = ProjectRequirement { digests: vec![Sha256([0xab; 32])], ..requirement("==1.0") };
        assert_eq!(names(&page, &[&same], &[], &[]), ["odd-1.0.tar.gz"]);
        let unknown = ProjectRequirement { digests: vec![Sha256([0xab; 32])], ..requirement("==3.0") };
        assert!(names(&page, &[&unknown], &[], &[]).is_empty());
    }
}
