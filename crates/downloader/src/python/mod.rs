//! `get pypi` and `validate pypi`: Python packages of an index, always a subset.

mod check;
mod closure;
mod download;
mod plan;
mod request_file;
mod segment;
mod selection;
mod source;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use indicatif::{HumanBytes, HumanCount};

pub(super) use check::check;

use super::args::GetPypi;
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
use base::model::project_name::ProjectName;
use base::model::text::count_of;
use closure::{Selection, Selector};
use download::{DownloadContext, fetch};
use formats::bundle::{Head, Product, ProductOrigin, PythonRecord, PythonState};
use formats::python::closure::ProjectRequirement;
use formats::python::file_name::{FileKind, FileName};
use formats::python::name;
use plan::{ExistingPythonFiles, PythonPlan};
use selection::{ChosenFile, Rule};
use source::Source;
use upstream::UpstreamError;
use upstream::origin::bundle::{BundleError, VerifiedHead};
use upstream::origin::python_bundle;

const PRODUCT: Product = Product::Pypi;

/// The bundle before the run.
struct CurrentPythonBundle {
    head: Option<VerifiedHead>,
    state: PythonState,
}

impl CurrentPythonBundle {
    fn head(&self) -> Option<&Head> {
        self.head.as_ref().map(|verified_head| &verified_head.head)
    }
}

/// Downloads the packages that the file of `--file-in` requires, and the changes of the packages of earlier runs.
pub(super) async fn get(args: GetPypi, output: Output) -> Result<ExitStatus, OfflineError> {
    let setup = setup(args.common, &args.base_url, None, output)?;
    let source = Source::new(setup.upstream.clone(), &args.base_url, args.file_hosts)?;
    let lock = if setup.request.is_dry_run { None } else { Some(lock(&setup.destination)?) };
    let current = read_current(&setup).await?;
    let earlier_rule = current.head().and_then(|head| head.files.clone());
    let (pythons, platforms) = match earlier_rule {
        Some(rule) if args.pythons.is_empty() && args.platforms.is_empty() => (rule.pythons, rule.platforms),
        _ => (args.pythons, args.platforms),
    };
    let rule = Rule::parse(&pythons, &platforms).map_err(|error| OfflineError::Usage(error.to_string()))?;
    let earlier_names = current.head().and_then(|head| head.subset.clone()).unwrap_or_default();
    let earlier_names: BTreeSet<ProjectName> =
        earlier_names.iter().filter_map(|name| name::parse(name).ok()).collect();
    let requirements = match &args.file_in {
        Some(path) => request_file::read(path, &rule, output)?,
        None if earlier_names.is_empty() => {
            return Err(OfflineError::Usage(
                "give --file-in with a requirements file or a lock file: all of PyPI would be tens of terabytes"
                    .to_owned(),
            ));
        }
        None => earlier_names.iter().cloned().map(ProjectRequirement::any).collect(),
    };
    let kind = kind_of_download(current.head(), args.starting_snapshot);
    output.info(&format!("Performing {kind} of schema version pypi/v1"));
    let selector = Selector {
        source: &Arc::new(source),
        rule: &rule,
        has_dependencies: args.dependencies,
        concurrency: setup.request.concurrency,
        output,
    };
    let known_projects = current.state.projects().keys().filter_map(|name| name::parse(name).ok());
    let other_projects: BTreeSet<ProjectName> = known_projects.chain(earlier_names.iter().cloned()).collect();
    let mut selection = selector.select(requirements, other_projects).await?;
    plan::reuse_digests(&mut selection, &current.state);
    let fields = HeadFields {
        subset: Some(subset(&selection)),
        files: Some(rule.files.clone()),
        first_day: args.starting_snapshot,
        upstream: ProductOrigin { address: selector.source.address(), serial: None },
        now: setup.request.now,
    };
    let commit =
        Commit { destination: &setup.destination, product: &PRODUCT, previous_head: current.head(), fields };
    let first_day = match current.head() {
        Some(head) => head.base.as_ref().map(|base| base.snapshot),
        None => args.starting_snapshot,
    };
    let objects = existing_objects(&setup.destination, lock.is_some())?;
    let existing =
        ExistingPythonFiles { state: &current.state, objects: &objects, first_day, today: commit.today() };
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
    let (mut records, missing_files) = download(&setup, selector.source, &plan, commit.today()).await?;
    records.extend(plan.events.iter().filter(|event| !is_about_missing(event, &missing_files)).cloned());
    let mut incomplete_files = IncompleteFiles::default();
    incomplete_files.missing_files.clone_from(&missing_files);
    // Saved before the head is written: a killed run must not leave a head without the list of its missing files.
    incomplete_files.save(&setup.destination, &PRODUCT)?;
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
fn lock(destination: &Destination) -> Result<Lock, OfflineError> {
    let lock = destination.lock(&PRODUCT.root(), false)?;
    destination.remove_temp_files(&PRODUCT.objects_dir())?;
    Ok(lock)
}

/// Returns the sizes of the objects by name.
fn existing_objects(
    destination: &Destination,
    is_locked: bool,
) -> Result<HashMap<String, u64>, OfflineError> {
    let root = PRODUCT.objects_dir();
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

async fn read_current(setup: &Setup) -> Result<CurrentPythonBundle, OfflineError> {
    let bundle = &setup.destination_bundle;
    match bundle.head_or_incremental(&PRODUCT).await {
        Ok(head) => {
            let state = python_bundle::state(bundle, &head).await?;
            Ok(CurrentPythonBundle { head: Some(head), state })
        }
        Err(BundleError::Absent { .. }) => {
            Ok(CurrentPythonBundle { head: None, state: PythonState::default() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the names of all projects of the new head.
fn subset(selection: &Selection) -> Vec<String> {
    let existing = selection.pages.iter().filter(|(_, page)| page.is_some());
    existing.map(|(name, _)| name.to_string()).collect()
}

fn report_selection(output: Output, selection: &Selection, plan: &PythonPlan) {
    for text in &selection.unsatisfied {
        output.warn(text);
    }
    for (project, page) in &selection.pages {
        for file in page.iter().flat_map(|page| &page.skipped_files) {
            output.warn(&format!("{project}: a file of the page is left out: {file}"));
        }
    }
    for (project, chosen) in &selection.files {
        let is_wheel =
            |file: &ChosenFile| FileName::parse(&file.name).is_ok_and(|name| name.kind() == FileKind::Wheel);
        if !chosen.is_empty() && !chosen.iter().any(is_wheel) {
            output.info(&format!(
                "{project} has no wheel: its installation needs the packages that build its source distribution, such as \
                 setuptools; name them in --file-in, too"
            ));
        }
    }
    for project in &plan.lost_projects {
        output
            .warn(&format!("{project}: the index does not have the project any more; its files are removed"));
    }
}

/// Refuses an index that has no page of any project although the bundle has files: a wrong address would remove all.
fn check_index(selection: &Selection, plan: &PythonPlan, address: &str) -> Result<(), OfflineError> {
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
    source: &Arc<Source>,
    plan: &PythonPlan,
    today: base::model::time::Day,
) -> Result<(Vec<PythonRecord>, BTreeMap<String, String>), OfflineError> {
    let context = DownloadContext {
        source: Arc::clone(source),
        destination: setup.destination.clone(),
        budget: Budget::new(BUDGET),
        today,
        output: setup.request.output,
    };
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
                missing_files.insert(planned.file.name.as_str().to_owned(), reason(&error));
            }
            Err(DownloadFailure::Destination(error, path)) => {
                return Err(OfflineError::destination("write", &path, error));
            }
        }
    }
    records.sort_unstable_by(|a, b| (a.day, &a.project, &a.name).cmp(&(b.day, &b.project, &b.name)));
    let records = records.into_iter().map(|record| PythonRecord::File(Box::new(record))).collect();
    Ok((records, missing_files))
}

fn reason(error: &UpstreamError) -> String {
    match error {
        UpstreamError::Missing(_) => "the index does not have it".to_owned(),
        UpstreamError::Unavailable { reason, .. } | UpstreamError::Refused { reason, .. } => reason.clone(),
    }
}

/// Returns whether an event concerns a file that could not be fetched.
fn is_about_missing(event: &PythonRecord, missing_files: &BTreeMap<String, String>) -> bool {
    match event {
        PythonRecord::Mark(mark) => missing_files.contains_key(&mark.name),
        PythonRecord::File(_)
        | PythonRecord::Remove(_)
        | PythonRecord::Status(_)
        | PythonRecord::Skip(_)
        | PythonRecord::Snapshot(_)
        | PythonRecord::Unknown => false,
    }
}
