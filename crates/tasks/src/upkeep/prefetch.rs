//! Stores the files of projects of PyPI that a requirements file or a lock file names, before clients request
//! them: unknown pages are read, and chosen files fetched, unless they are in storage.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::{JobNumber, Upkeep};
use base::model::digest::Sha256;
use base::model::ids::SourceId;
use base::model::kind::SourceKind;
use base::model::project_name::ProjectName;
use base::model::text::count_of;
use content::serve::located::LocatedFile;
use content::serve::python::prefetch::{self, ChosenFiles, PrefetchScope};
use content::serve::{self, RepoError};
use formats::python::curated::rule::ProjectRule;
use formats::python::curated::{self, PythonDefinition, ReadOptions};
use formats::python::environment::Environment;
use formats::python::selection;
use runtime::jobs::{AfterHalt, JobStart, Reporter};
use store::db::curation::{self, DefinitionFile};

/// Maximum number of problems of a result; further ones are counted.
const MAX_PROBLEMS: usize = 1000;

#[derive(Clone, Debug, Default)]
pub struct PrefetchRequest {
    /// A requirements file or a lock file, and the files to which it refers.
    pub files: Vec<DefinitionFile>,
    /// Whether only files whose digests a lock file lists are chosen.
    pub strict: bool,
    /// Minor versions of Python of the wheels; empty for all.
    pub pythons: Vec<String>,
    /// Platform tags of the wheels; empty for all.
    pub platforms: Vec<String>,
    /// Whether only the pages of the projects are read.
    pub pages_only: bool,
    /// Whether files are only counted. Pages are read.
    pub dry_run: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefetchResult {
    /// Whether only pages were read.
    pub pages_only: bool,
    /// Whether files were only counted.
    pub dry_run: bool,
    /// The projects whose page is known, by name.
    pub projects: Vec<PrefetchedProject>,
    /// Number of files that were stored; in a dry run, that would be stored.
    pub files: u64,
    /// Size of these files, in bytes, as far as the index states it.
    pub bytes: u64,
    /// Number of chosen files that were in storage before, or are served from a bundle in a directory.
    pub stored_before: u64,
    /// Sentences about omitted and ignored lines.
    pub notices: Vec<String>,
    /// Sentences about projects and files that could not be read or stored.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefetchedProject {
    pub name: String,
    /// The versions of its chosen files, the highest first.
    pub versions: Vec<String>,
    pub files: u64,
    /// Size of these files, in bytes, as far as the index states it.
    pub bytes: u64,
}

impl PrefetchResult {
    /// Returns the result as a sentence, without the problems.
    pub fn summary(&self) -> String {
        let projects = self.projects.len();
        let problems = match self.problems.len() {
            0 => String::new(),
            count => format!(" {}.", count_of(count, "problem", "problems")),
        };
        if self.pages_only {
            return format!(
                "The pages of {} are known.{problems}",
                count_of(projects, "package", "packages")
            );
        }
        let verb = if self.dry_run { "would be stored" } else { "stored" };
        format!(
            "{} ({} bytes) {verb} for {}; {}.{problems}",
            count_of(self.files, "file", "files"),
            count_of(self.bytes, "", "").trim_end(),
            count_of(projects, "package", "packages"),
            count_of(self.stored_before, "file was stored before", "files were stored before"),
        )
    }

    fn add(&mut self, project: ProjectResult) {
        self.projects.extend(project.project);
        self.files += project.files;
        self.bytes += project.bytes;
        self.stored_before += project.stored_before;
        self.problems.extend(project.problems);
    }
}

#[derive(Default)]
struct ProjectResult {
    project: Option<PrefetchedProject>,
    files: u64,
    bytes: u64,
    stored_before: u64,
    problems: Vec<String>,
}

struct Options {
    source: SourceId,
    scope: PrefetchScope,
    environments: Vec<Environment>,
    pages_only: bool,
    dry_run: bool,
}

/// Starts a job that stores files, or attaches to a running one with the same request. Fails for an invalid
/// file, version of Python or platform, or if the index, the built-in source of `kind`, was never synced.
pub async fn start(
    upkeep: &Arc<Upkeep>,
    kind: SourceKind,
    request: PrefetchRequest,
) -> Result<JobStart, RepoError> {
    let source = kind.language().index();
    let PrefetchRequest { files, strict, pythons, platforms, pages_only, dry_run } = request;
    let environments = selection::environments(&pythons, &platforms)
        .map_err(|error| RepoError::Invalid(error.to_string()))?;
    let scope = prefetch::scope(&upkeep.repositories, source).await?;
    // Without versions and platforms, the files for all environments are stored.
    let has_targets = !pythons.is_empty() || !platforms.is_empty();
    let targets = if has_targets { environments.clone() } else { Vec::new() };
    let definition = read(files, strict, targets).await?;
    let lines = curated::requirements(&definition);
    let digest = Sha256::of(&lines);
    let key = format!("{digest} {pythons:?} {platforms:?} {pages_only} {dry_run}");
    let options = Arc::new(Options { source, scope, environments, pages_only, dry_run });
    let (this, job) = (Arc::clone(upkeep), JobNumber::default());
    let (number, now) = (Arc::clone(&job), (upkeep.state.clock)());
    let start = |reporter: Reporter| async move {
        let result = run(&this, options, definition, &reporter).await;
        let summary = result.summary();
        let (files, bytes, problems) = (result.files, result.bytes, result.problems.len());
        tracing::info!(files, bytes, problems, dry_run, "prefetched files of {}", kind.label());
        this.prefetch_results.add(number, result);
        Ok(summary)
    };
    let started =
        upkeep.state.jobs.start_with(AfterHalt::Resumes, &format!("prefetch:{kind}"), &key, now, start);
    if let JobStart::New(new_job) = &started {
        // The number is known only after the start.
        let _ = job.set(new_job.id);
    }
    Ok(started)
}

pub fn result(upkeep: &Upkeep, job: u64) -> Option<Arc<PrefetchResult>> {
    upkeep.prefetch_results.get(job)
}

/// Reads the files, which may be 24 MB in size: not on an async thread.
async fn read(
    files: Vec<DefinitionFile>,
    strict: bool,
    targets: Vec<Environment>,
) -> Result<PythonDefinition, RepoError> {
    serve::error::run_blocking(move || {
        let definition = curated::read_for(&curation::named(&files), ReadOptions { strict }, &targets);
        definition.map_err(|error| RepoError::Invalid(error.to_string()))
    })
    .await?
}

async fn run(
    upkeep: &Arc<Upkeep>,
    options: Arc<Options>,
    definition: PythonDefinition,
    reporter: &Reporter,
) -> PrefetchResult {
    let mut result = PrefetchResult {
        pages_only: options.pages_only,
        dry_run: options.dry_run,
        notices: definition.notices,
        ..PrefetchResult::default()
    };
    // The other half of the requests is for clients.
    let config = upkeep.state.config.load_full();
    let concurrency = config.index(options.source).map_or(1, |index| (index.concurrency / 2).max(1));
    let total = definition.rules.len() as u64;
    let mut projects = stream::iter(definition.rules)
        .map(|(name, rule)| {
            let (upkeep, options) = (Arc::clone(upkeep), Arc::clone(&options));
            async move { prefetch_project(&upkeep, &options, &name, &rule).await }
        })
        .buffer_unordered(concurrency);
    let mut done_count = 0;
    loop {
        let bytes = count_of(result.bytes, "", "");
        let phase = format!("reading pages and storing files ({} bytes so far)", bytes.trim_end());
        reporter.progress(phase, done_count, Some(total));
        let project = tokio::select! {
            project = projects.next() => project,
            () = reporter.wait_halted() => {
                let text = "the command was interrupted; run it again: what is stored is not fetched again";
                result.problems.push(text.to_owned());
                break;
            }
        };
        let Some(project) = project else { break };
        done_count += 1;
        result.add(project);
    }
    result.projects.sort_by(|a, b| a.name.cmp(&b.name));
    let omitted = result.problems.len().saturating_sub(MAX_PROBLEMS);
    if omitted > 0 {
        result.problems.truncate(MAX_PROBLEMS);
        result.problems.push(format!("and {}", count_of(omitted, "further problem", "further problems")));
    }
    result
}

async fn prefetch_project(
    upkeep: &Upkeep,
    options: &Options,
    name: &ProjectName,
    rule: &ProjectRule,
) -> ProjectResult {
    let mut result = ProjectResult::default();
    let chosen = prefetch::choose(&upkeep.repositories, &options.scope, name, rule, &options.environments);
    let ChosenFiles { versions, files, metadata, problems } = match chosen.await {
        Ok(chosen) => chosen,
        Err(error) => {
            result.problems.push(format!("'{name}': {error}"));
            return result;
        }
    };
    result.problems = problems;
    let size = |file: &LocatedFile| file.size.unwrap_or(0);
    result.project = Some(PrefetchedProject {
        name: name.to_string(),
        versions,
        files: files.len() as u64,
        bytes: files.iter().map(size).sum(),
    });
    if options.pages_only {
        return result;
    }
    for file in &files {
        let is_new = if options.dry_run {
            Ok(!serve::file::is_local(&upkeep.repositories, file))
        } else {
            serve::file::store(&upkeep.repositories, file).await
        };
        match is_new {
            Ok(true) => (result.files, result.bytes) = (result.files + 1, result.bytes + size(file)),
            Ok(false) => result.stored_before += 1,
            Err(error) => result.problems.push(format!("'{}': {error}", file.name)),
        }
    }
    for file in metadata.iter().filter(|_| !options.dry_run) {
        if let Err(error) = serve::file::store(&upkeep.repositories, file).await {
            result.problems.push(format!("'{}': {error}", file.name));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_a_sentence_with_the_number_of_problems() {
        let mut result =
            PrefetchResult { files: 2, bytes: 1234, stored_before: 1, ..PrefetchResult::default() };
        result.projects.push(PrefetchedProject::default());
        assert_eq!(result.summary(), "2 files (1,234 bytes) stored for 1 package; 1 file was stored before.");
        result.dry_run = true;
        result.problems.push("'x': why".to_owned());
        let text = result.summary();
        assert!(text.contains("would be stored") && text.ends_with(" 1 problem."), "{text}");
        result.pages_only = true;
        assert_eq!(result.summary(), "The pages of 1 package are known. 1 problem.");
    }
}
