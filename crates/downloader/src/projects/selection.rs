//! The chosen files. By default, a language has a list of projects, one per line, some with a version.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::source::Source;
use crate::error::OfflineError;
use crate::progress::Output;
use crate::workers::run_all;
use base::model::project_name::ProjectName;
use base::model::project_page::UpstreamPage;
use formats::language::{Projects, Rules};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChosenFile {
    pub(super) name: String,
    pub(super) version: String,
}

/// The chosen files and the pages that name them.
#[derive(Default)]
pub(super) struct Selection {
    /// The pages by project; `None` if the index does not have the page.
    pub(super) pages: BTreeMap<ProjectName, Option<UpstreamPage>>,
    /// The chosen files by project.
    pub(super) files: BTreeMap<ProjectName, BTreeSet<ChosenFile>>,
    /// Requirements that no file satisfies.
    pub(super) unsatisfied: Vec<String>,
    /// Hints about the chosen files.
    pub(super) hints: Vec<String>,
}

/// A line of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListedProject {
    project: ProjectName,
    /// `None` for all versions.
    version: Option<String>,
}

/// The index from which files are chosen.
pub(super) struct Selector<'a> {
    pub(super) rules: &'static dyn Rules,
    pub(super) projects: &'static dyn Projects,
    pub(super) source: &'a Arc<Source>,
    pub(super) concurrency: usize,
    pub(super) output: Output,
}

impl Selector<'_> {
    /// Reads the pages of projects that were not read before.
    pub(super) async fn read_pages(
        &self,
        selection: &mut Selection,
        projects: BTreeSet<ProjectName>,
    ) -> Result<(), OfflineError> {
        let projects: Vec<ProjectName> =
            projects.into_iter().filter(|project| !selection.pages.contains_key(project)).collect();
        let source = Arc::clone(self.source);
        let read = move |project: ProjectName| {
            let source = Arc::clone(&source);
            async move {
                let page = source.page(&project).await;
                (project, page)
            }
        };
        for (project, page) in run_all(projects, self.concurrency, read).await {
            selection.pages.insert(project, page?);
        }
        Ok(())
    }

    /// Chooses all files of the listed versions.
    pub(super) async fn select_listed(&self, listed: &[ListedProject]) -> Result<Selection, OfflineError> {
        let mut selection = Selection::default();
        let projects = listed.iter().map(|listed| listed.project.clone()).collect();
        self.read_pages(&mut selection, projects).await?;
        for ListedProject { project, version } in listed {
            let label =
                [project.as_str()].into_iter().chain(version.as_deref()).collect::<Vec<_>>().join("==");
            let Some(Some(page)) = selection.pages.get(project) else {
                selection.unsatisfied.push(format!("{label}: the index has no such project"));
                continue;
            };
            let files = files_of_version(self.rules, self.projects, page, version.as_deref());
            if files.is_empty() {
                selection.unsatisfied.push(format!("{label}: no file of the index satisfies it"));
            }
            selection.files.entry(project.clone()).or_default().extend(files);
        }
        Ok(selection)
    }
}

/// Returns the files of a version; those of all versions for `None`.
fn files_of_version(
    rules: &dyn Rules,
    projects: &dyn Projects,
    page: &UpstreamPage,
    version: Option<&str>,
) -> Vec<ChosenFile> {
    let files = page.offered_files().iter().filter(|file| projects.is_installable(&file.name));
    let chosen = files.filter_map(|file| {
        let of_file = file.version.as_deref()?;
        let is_listed = version.is_none_or(|version| rules.version(version).is_same(&rules.version(of_file)));
        is_listed.then(|| ChosenFile { name: file.name.clone(), version: of_file.to_owned() })
    });
    chosen.collect()
}

/// Returns the list of `--file-in`; without it, the projects of earlier runs.
pub(super) fn listed(
    rules: &dyn Rules,
    file_in: Option<&Path>,
    earlier_names: &BTreeSet<ProjectName>,
) -> Result<Vec<ListedProject>, OfflineError> {
    if let Some(path) = file_in {
        let usage_error =
            |reason: String| OfflineError::Usage(format!("--file-in {}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| usage_error(error.to_string()))?;
        return read_list(rules, &text).map_err(usage_error);
    }
    if earlier_names.is_empty() {
        return Err(OfflineError::Usage("give --file-in with a list of projects, one per line".to_owned()));
    }
    let listed = earlier_names.iter().cloned().map(|project| ListedProject { project, version: None });
    Ok(listed.collect())
}

/// Parses a list: `name` or `name==version` on each line, and comments after `#`.
fn read_list(rules: &dyn Rules, text: &str) -> Result<Vec<ListedProject>, String> {
    let mut listed = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (name, version) =
            line.split_once("==").map_or((line, None), |(name, version)| (name, Some(version)));
        let project =
            rules.project_name(name.trim()).map_err(|error| format!("line {}: {error}", index + 1))?;
        listed.push(ListedProject { project, version: version.map(|version| version.trim().to_owned()) });
    }
    match listed.is_empty() {
        true => Err("the file names no project".to_owned()),
        false => Ok(listed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::kind::Language;
    use base::model::project_page::ProjectStatus;
    use base::model::project_page::{MetadataFile, UpstreamFile};
    use formats::language;

    #[test]
    fn a_list_has_a_project_on_each_line() {
        let rules = language::of(Language::Python);
        let listed = read_list(rules, "# ours\nOdd.Lib\n\nmore == 1.0 # pinned\n").expect("a list");
        let listed: Vec<(&str, Option<&str>)> =
            listed.iter().map(|listed| (listed.project.as_str(), listed.version.as_deref())).collect();
        assert_eq!(listed, [("odd-lib", None), ("more", Some("1.0"))]);
        assert!(read_list(rules, "odd\n../x\n").expect_err("a path").starts_with("line 2: '../x'"));
        assert!(read_list(rules, "# nothing\n").is_err());
    }

    #[test]
    fn all_files_of_a_listed_version_are_chosen() {
        let file = |name: &str, version: &str| UpstreamFile {
            name: name.to_owned(),
            version: Some(version.to_owned()),
            url: format!("http://h/{name}"),
            hashes: BTreeMap::new(),
            size: None,
            uploaded_at: None,
            yanked: None,
            metadata: MetadataFile::None,
            provenance: None,
            facts: Vec::new(),
        };
        let page = UpstreamPage {
            project: ProjectName::folded("odd"),
            serial: None,
            status: ProjectStatus::Active,
            status_reason: None,
            files: vec![
                file("odd-1.0.tar.gz", "1.0"),
                file("odd-1.0.exe", "1.0"),
                file("odd-2.0.tar.gz", "2.0"),
            ],
            skipped_files: Vec::new(),
        };
        let rules = language::of(Language::Python);
        let names = |version| {
            let files = files_of_version(rules, rules.projects().expect("projects"), &page, version);
            files.into_iter().map(|file| file.name).collect::<Vec<_>>()
        };
        assert_eq!(names(Some("1")), ["odd-1.0.tar.gz"]);
        assert_eq!(names(None), ["odd-1.0.tar.gz", "odd-2.0.tar.gz"]);
        assert!(names(Some("3")).is_empty());
    }
}
