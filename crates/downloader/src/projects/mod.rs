//! `get pypi` and `validate pypi`, and those of other languages with projects: packages of an index, always a subset.

mod check;
mod download;
mod plan;
pub(super) mod python;
mod segment;
mod selection;
pub(super) mod source;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use indicatif::{HumanBytes, HumanCount};

pub(super) use check::check;

use super::args::GetProjects;
use super::buffer::{BUDGET, Budget};
use super::commit::{Commit, HeadFields};
use super::destination::{self, Destination, Lock};
use super::error::{ExitStatus, OfflineError};
use super::file::DownloadFailure;
use super::incomplete_files::IncompleteFiles;
use super::progress::{Output, Progress};
use super::run::kind_of_download;
use super::setup::{Setup, setup};
use super::workers::run_all;
use base::model::digest::Sha256;
use base::model::kind::Language;
use base::model::project_name::ProjectName;
use base::model::project_page::UpstreamFile;
use base::model::text::count_of;
use download::{AttachedObjects, DownloadContext, fetch};
use formats::bundle::{BundledProjects, FilesRule, Head, Product, ProductOrigin, ProjectRecord};
use formats::language;
use plan::{ExistingFiles, ProjectPlan};
use selection::{ListedProject, Selection, Selector};
use source::Source;
use upstream::UpstreamError;
use upstream::origin::bundle::{BundleError, VerifiedHead};
use upstream::origin::project_bundle;

/// The bundle before the run.
struct CurrentProjects {
    head: Option<VerifiedHead>,
    state: BundledProjects,
}

impl CurrentProjects {
    fn head(&self) -> Option<&Head> {
        self.head.as_ref().map(|verified_head| &verified_head.head)
    }
}

/// What a run requests: the table of the ways in which files are chosen.
enum Request {
    /// All files of the listed versions.
    Listed(Vec<ListedProject>),
    Python(python::Request),
}

impl Request {
    /// Returns the rule for the files of a version, for the head.
    fn files_rule(&self) -> Option<FilesRule> {
        match self {
            Request::Listed(_) => None,
            Request::Python(request) => Some(request.rule.files.clone()),
        }
    }

    /// Chooses the files, and reads the pages of the other projects, too.
    async fn select(
        &self,
        selector: &Selector<'_>,
        other_projects: BTreeSet<ProjectName>,
    ) -> Result<Selection, OfflineError> {
        let mut selection = match self {
            Request::Listed(listed) => selector.select_listed(listed).await?,
            Request::Python(request) => request.select(selector).await?,
        };
        selector.read_pages(&mut selection, other_projects).await?;
        Ok(selection)
    }

    /// Fetches what the index attaches to a file that was stored at `object`.
    async fn attached(
        &self,
        context: &DownloadContext,
        file: &UpstreamFile,
        sha256: Sha256,
        object: PathBuf,
    ) -> Result<AttachedObjects, DownloadFailure> {
        match self {
            Request::Listed(_) => Ok(AttachedObjects::default()),
            Request::Python(_) => python::attached(context, file, sha256, object).await,
        }
    }
}

/// Downloads the packages that the file of `--file-in` requests, and the changes of the packages of earlier runs. `targets`
/// are those of Python, whose file has requirements; that of another language is a list.
pub(super) async fn get(
    language: Language,
    args: GetProjects,
    targets: Option<python::Targets>,
    output: Output,
) -> Result<ExitStatus, OfflineError> {
    let (rules, product) = (language::of(language), Product::Projects(language));
    let Some(projects) = rules.projects() else {
        return Err(OfflineError::Usage(format!("{} has no pages of projects", language.label())));
    };
    let setup = setup(args.common, &args.base_url, None, output)?;
    let source = Source::new(language, projects, setup.upstream.clone(), &args.base_url, args.file_hosts)?;
    let lock = if setup.request.is_dry_run { None } else { Some(lock(&setup.destination, &product)?) };
    let current = read_current(&setup, language).await?;
    let earlier_names = current.head().and_then(|head| head.subset.clone()).unwrap_or_default();
    let earlier_names: BTreeSet<ProjectName> =
        earlier_names.iter().filter_map(|name| rules.project_name(name).ok()).collect();
    let file_in = args.file_in.as_deref();
    let request = match targets {
        Some(targets) => {
            let earlier_rule = current.head().and_then(|head| head.files.clone());
            let request = python::Request::read(targets, file_in, earlier_rule, &earlier_names, output)?;
            Request::Python(request)
        }
        None => Request::Listed(selection::listed(rules, file_in, &earlier_names)?),
    };
    let kind = kind_of_download(current.head(), args.starting_snapshot);
    output.info(&format!("Performing {kind} of schema version {product}/v{}", product.schema()));
    let selector = Selector {
        rules,
        projects,
        source: &Arc::new(source),
        concurrency: setup.request.concurrency,
        output,
    };
    let known_projects = current.state.projects().keys().filter_map(|name| rules.project_name(name).ok());
    let other_projects: BTreeSet<ProjectName> = known_projects.chain(earlier_names.iter().cloned()).collect();
    let mut selection = request.select(&selector, other_projects).await?;
    plan::reuse_digests(&mut selection, &current.state);
    let fields = HeadFields {
        subset: Some(subset(&selection)),
        files: request.files_rule(),
        first_day: args.starting_snapshot,
        upstream: ProductOrigin { address: selector.source.address(), serial: None },
        now: setup.request.now,
    };
    let commit =
        Commit { destination: &setup.destination, product: &product, previous_head: current.head(), fields };
    let first_day = match current.head() {
        Some(head) => head.base.as_ref().map(|base| base.snapshot),
        None => args.starting_snapshot,
    };
    let objects = existing_objects(&setup.destination, &product, lock.is_some())?;
    let existing = ExistingFiles {
        projects,
        state: &current.state,
        objects: &objects,
        first_day,
        today: commit.today(),
    };
    let plan = plan::plan(&selection, &existing);
    check_index(&selection, &plan, &selector.source.address())?;
    report_selection(output, &selection, &plan);
    output.info(&format!(
        "{} files with {} are new",
        HumanCount(plan.fetches.len() as u64),
        HumanBytes(plan.size())
    ));
    let is_unsatisfied = !selection.unsatisfied.is_empty();
    if setup.request.is_dry_run {
        return Ok(if is_unsatisfied { ExitStatus::Incomplete } else { ExitStatus::Complete });
    }
    setup.destination.require_space(plan.size(), "")?;
    let (mut records, missing_files) = {
        let context = DownloadContext {
            projects,
            product: product.clone(),
            request: Arc::new(request),
            source: Arc::clone(selector.source),
            destination: setup.destination.clone(),
            budget: Budget::new(BUDGET),
            today: commit.today(),
            output,
        };
        download(&setup, context, &plan).await?
    };
    records.extend(plan.events.iter().filter(|event| !is_about_missing(event, &missing_files)).cloned());
    let mut incomplete_files = IncompleteFiles::default();
    incomplete_files.missing_files.clone_from(&missing_files);
    // Saved before the head is written: a killed run must not leave a head without the list of its missing files.
    incomplete_files.save(&setup.destination, &product)?;
    match segment::write(&commit, current.state.clone(), records, plan.base_lines)? {
        None => output.info("nothing is new"),
        Some(count) => {
            output.info(&format!("snapshot {}: {} files", commit.today(), HumanCount(count as u64)));
        }
    }
    drop(lock);
    let is_complete = missing_files.is_empty() && !is_unsatisfied;
    output.info(match is_complete {
        true => "complete",
        false => "not complete: some requirements have no file, or files could not be downloaded; see the messages above",
    });
    Ok(if is_complete { ExitStatus::Complete } else { ExitStatus::Incomplete })
}

/// Locks the product and removes temporary files of killed writers.
fn lock(destination: &Destination, product: &Product) -> Result<Lock, OfflineError> {
    let lock = destination.lock(&product.root(), false)?;
    destination.remove_temp_files(&product.objects_dir())?;
    Ok(lock)
}

/// Returns the sizes of the objects by name.
fn existing_objects(
    destination: &Destination,
    product: &Product,
    is_locked: bool,
) -> Result<HashMap<String, u64>, OfflineError> {
    let root = product.objects_dir();
    if is_locked {
        return destination.objects(&root);
    }
    // Without the lock, temporary files of a running download are not removed.
    let mut sizes = HashMap::new();
    for folder in destination::names(&destination.path(&root))? {
        let folder = destination.path(&format!("{root}/{folder}"));
        for name in destination::names(&folder)? {
            if let Ok(metadata) = folder.join(&name).metadata() {
                sizes.insert(name, metadata.len());
            }
        }
    }
    Ok(sizes)
}

async fn read_current(setup: &Setup, language: Language) -> Result<CurrentProjects, OfflineError> {
    let bundle = &setup.destination_bundle;
    match bundle.head_or_incremental(&Product::Projects(language)).await {
        Ok(head) => {
            let state = project_bundle::state(bundle, language, &head).await?;
            Ok(CurrentProjects { head: Some(head), state })
        }
        Err(BundleError::Absent { .. }) => {
            Ok(CurrentProjects { head: None, state: BundledProjects::new(language) })
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the names of all projects of the new head.
fn subset(selection: &Selection) -> Vec<String> {
    let existing = selection.pages.iter().filter(|(_, page)| page.is_some());
    existing.map(|(name, _)| name.to_string()).collect()
}

fn report_selection(output: Output, selection: &Selection, plan: &ProjectPlan) {
    for text in &selection.unsatisfied {
        output.warn(text);
    }
    for (project, page) in &selection.pages {
        for file in page.iter().flat_map(|page| &page.skipped_files) {
            output.warn(&format!("{project}: a file of the page is left out: {file}"));
        }
    }
    selection.hints.iter().for_each(|hint| output.info(hint));
    for project in &plan.lost_projects {
        output
            .warn(&format!("{project}: the index does not have the project any more; its files are removed"));
    }
}

/// Refuses an index that has no page of any project although the bundle has files: a wrong address would remove all.
fn check_index(selection: &Selection, plan: &ProjectPlan, address: &str) -> Result<(), OfflineError> {
    if plan.lost_projects.is_empty() || selection.pages.values().any(Option::is_some) {
        return Ok(());
    }
    Err(OfflineError::Refused(format!(
        "{address} has none of the {} of the bundle, whose files would be removed; check --base-url",
        count_of(plan.lost_projects.len(), "project", "projects")
    )))
}

/// Fetches the files of a plan. Returns the records of new files, and by file name why the others could not be fetched.
async fn download(
    setup: &Setup,
    context: DownloadContext,
    plan: &ProjectPlan,
) -> Result<(Vec<ProjectRecord>, BTreeMap<String, String>), OfflineError> {
    let progress = Arc::new(Progress::new(setup.request.output, plan.fetches.len() as u64, plan.size()));
    let task_progress = Arc::clone(&progress);
    let work = move |planned: plan::PlannedFile| {
        let (context, progress) = (context.clone(), Arc::clone(&task_progress));
        async move {
            let result = fetch(&context, &planned).await;
            if let Ok(record) = &result {
                progress.add_file(record.obj.size);
            }
            (planned, result)
        }
    };
    let results = run_all(plan.fetches.clone(), setup.request.concurrency, work).await;
    progress.finish();
    let (mut records, mut missing_files) = (Vec::new(), BTreeMap::new());
    for (planned, result) in results {
        match result {
            Ok(record) if !planned.is_known => records.push(record),
            Ok(_) => {}
            Err(DownloadFailure::Mirror(error)) => {
                setup.request.output.warn(&error.to_string());
                missing_files.insert(planned.file.name, reason(&error));
            }
            Err(DownloadFailure::Destination(error, path)) => {
                return Err(OfflineError::destination("write", &path, error));
            }
        }
    }
    records.sort_unstable_by(|a, b| (a.day, &a.project, &a.name).cmp(&(b.day, &b.project, &b.name)));
    let records = records.into_iter().map(|record| ProjectRecord::File(Box::new(record))).collect();
    Ok((records, missing_files))
}

fn reason(error: &UpstreamError) -> String {
    match error {
        UpstreamError::Missing(_) => "the index does not have it".to_owned(),
        UpstreamError::Unavailable { reason, .. } | UpstreamError::Refused { reason, .. } => reason.clone(),
    }
}

/// Returns whether an event concerns a file that could not be fetched.
fn is_about_missing(event: &ProjectRecord, missing_files: &BTreeMap<String, String>) -> bool {
    match event {
        ProjectRecord::Mark(mark) => missing_files.contains_key(&mark.name),
        ProjectRecord::File(_)
        | ProjectRecord::Remove(_)
        | ProjectRecord::Status(_)
        | ProjectRecord::Skip(_)
        | ProjectRecord::Snapshot(_)
        | ProjectRecord::Unknown => false,
    }
}
