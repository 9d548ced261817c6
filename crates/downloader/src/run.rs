//! Downloads one product: reads upstream, plans, fetches, reads upstream again, commits.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;

use futures_util::{Stream, StreamExt, stream};
use indicatif::{HumanBytes, HumanCount};
use tokio::task::JoinHandle;

use super::bundle_inventory::{self, replay};
use super::commit::{Commit, HeadFields};
use super::destination::{Destination, Lock};
use super::error::{ExitStatus, OfflineError};
use super::file::{DownloadFailure, FetchedFile, FileTarget};
use super::incomplete_files::IncompleteFiles;
use super::inventory::Inventory;
use super::journal::Journal;
use super::mirror::HistorySpan;
use super::plan::{self, ExistingFiles, Plan, PlannedFetch};
use super::progress::{Output, Progress};
use super::unreferenced_files::UnreferencedFiles;
use base::model::digest::Sha256;
use base::model::text::count_of;
use base::model::time::{Day, Timestamp};
use formats::bundle::{
    Head, Product, ProductOrigin, ProductState, Readme, ReleaseRecord, layout, self_digest,
};
use upstream::origin::bundle::{Bundle, BundleError, VerifiedHead};
use upstream::{Mirror, UpstreamError};

/// Number of consecutive files without a response after which the mirror counts as unavailable.
const MAX_UNAVAILABLE_FILES: usize = 20;
/// Maximum number of rounds of fetching: after each round but the last, upstream is read again. Changes of upstream
/// during the last round are fetched by the next run.
const MAX_ROUNDS: usize = 3;
/// Bytes between background syncs to disk, so that the sync before the commit is short.
const SYNC_BYTES: u64 = 128 << 20;
/// Maximum number of failures that are reported one by one.
const MAX_REPORTED_FAILURES: usize = 20;

#[derive(Clone, Debug)]
pub(super) struct RunRequest {
    pub(super) concurrency: usize,
    pub(super) is_dry_run: bool,
    /// First day of an incremental bundle.
    pub(super) first_day: Option<Day>,
    pub(super) accept_loss: bool,
    /// Names of the packages of a subset with their dependencies; `None` for all packages.
    pub(super) subset: Option<Vec<String>>,
    pub(super) now: Timestamp,
    pub(super) output: Output,
}

/// The download of one product.
pub(super) struct Run<'a> {
    pub(super) destination: &'a Destination,
    pub(super) product: Product,
    pub(super) mirror: &'a Mirror,
    /// The upstream as a bundle, if it is a bundle.
    pub(super) origin_bundle: Option<Bundle>,
    pub(super) destination_bundle: Bundle,
    pub(super) request: &'a RunRequest,
}

/// The bundle at the destination before the run.
struct CurrentBundle {
    head: Option<Head>,
    state: ProductState,
}

impl Run<'_> {
    /// Runs the download. `read_inventory` reads upstream.
    pub(super) async fn run<F, Fut>(&self, read_inventory: F) -> Result<ExitStatus, OfflineError>
    where
        F: Fn(HistorySpan) -> Fut,
        Fut: Future<Output = Result<Inventory, OfflineError>>,
    {
        let (request, output) = (self.request, self.request.output);
        // A new product is locked only after upstream has been read: no folder is created for one that upstream lacks.
        let is_new = !self.destination.path(&self.product.root()).exists();
        let mut lock = if request.is_dry_run || is_new { None } else { Some(self.lock()?) };
        let verified_head = match self.destination_bundle.head_or_incremental(&self.product).await {
            Ok(verified_head) => Some(verified_head),
            Err(BundleError::Absent { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let missing_heads = self.restore_heads(verified_head.is_some())?;
        output.info(&self.announcement(verified_head.as_ref()));
        let mut incomplete_files = IncompleteFiles::read(self.destination, &self.product);
        if let Some(verified_head) =
            verified_head.as_ref().filter(|_| !request.is_dry_run && incomplete_files.is_resolved())
            && self.is_up_to_date(verified_head).await?
        {
            output.info(&unchanged_message(&self.product));
            return Ok(self.report_missing_heads(&missing_heads, ExitStatus::Complete));
        }
        let span =
            (verified_head.as_ref().map(|verified_head| verified_head.head.snapshot), request.now.day());
        let existing_objects = async { if is_new { Ok(HashMap::new()) } else { self.objects().await } };
        let (current_bundle, mut inventory, mut objects) =
            tokio::try_join!(self.load_current(verified_head), read_inventory(span), existing_objects)?;
        inventory.warnings.iter().for_each(|warning| output.warn(warning));
        self.check_inventory(&inventory, &current_bundle)?;
        if request.is_dry_run {
            let plan = self.plan(&inventory, &current_bundle.state, &ProductState::default(), &objects)?;
            print_plan(output, &plan);
            return Ok(ExitStatus::Complete);
        }
        if lock.is_none() {
            lock = Some(self.lock()?);
            let head = self.destination.path(&self.product.head_path());
            if head.exists() {
                return Err(OfflineError::Refused(format!(
                    "another rspm-offline-downloader wrote {} in the meantime; run the command again",
                    head.display()
                )));
            }
            objects = self.objects().await?;
        }
        let _lock = lock;
        let mut journal = Journal::open(self.destination, &self.product)?;
        let unreferenced_files =
            journal.start_time.map(|start_time| UnreferencedFiles::new(start_time, &current_bundle.state));
        let mut plan = self.plan(&inventory, &current_bundle.state, &journal.state()?, &objects)?;
        plan.fetches.extend(plan::unconfirmed_files(&inventory, &incomplete_files, &plan));
        let (mut failures, mut round) = (Vec::new(), 1);
        while !plan.fetches.is_empty() {
            // Every file of a committed inventory must have been requested: the next run only revalidates it.
            failures = self.fetch(&plan, &mut journal, &mut incomplete_files).await?;
            if round == MAX_ROUNDS {
                break;
            }
            // Changes of upstream during the fetch are fetched too, so that the bundle is from one moment.
            let later_inventory = read_inventory(span).await?;
            if later_inventory.fingerprint == inventory.fingerprint {
                break;
            }
            (inventory, round) = (later_inventory, round + 1);
            plan = self.plan(&inventory, &current_bundle.state, &journal.state()?, &self.objects().await?)?;
            failures.clear();
        }
        let missing_files: BTreeMap<String, String> =
            failures.iter().map(|(path, error)| (path.clone(), error.to_string())).collect();
        // The list is saved before the head is written: a killed run must not leave a head without the list of its
        // missing files. Until the head is written, the missing files of the previous head stay in the list.
        incomplete_files.missing_files.extend(missing_files.clone());
        incomplete_files.save(self.destination, &self.product)?;
        self.commit(current_bundle, &inventory, &plan, &mut journal)?;
        if let Some(unreferenced_files) = unreferenced_files {
            let head = self.destination_bundle.head_or_incremental(&self.product).await?;
            unreferenced_files.remove(self.destination, &self.product, &head, &journal)?;
        }
        incomplete_files.missing_files = missing_files;
        incomplete_files.save(self.destination, &self.product)?;
        journal.remove()?;
        if failures.is_empty() {
            self.save_last_run(inventory.validators)?;
        }
        Ok(self.report_missing_heads(&missing_heads, self.report_failures(&failures)))
    }

    /// Locks the product and removes temporary files of killed writers.
    fn lock(&self) -> Result<Lock, OfflineError> {
        let lock = self.destination.lock(&self.product.root(), false)?;
        for folder in [layout::SEGMENTS, layout::READMES, layout::HEADS, layout::NOTES] {
            self.destination.remove_temp_files(&self.product.path(folder))?;
        }
        self.destination.remove_temp_files(&self.product.objects_dir())?;
        Ok(lock)
    }

    async fn load_current(&self, verified_head: Option<VerifiedHead>) -> Result<CurrentBundle, OfflineError> {
        let Some(verified_head) = verified_head else {
            return Ok(CurrentBundle { head: None, state: ProductState::default() });
        };
        let state = replay(&self.destination_bundle, &self.product, &verified_head, drop).await?;
        Ok(CurrentBundle { head: Some(verified_head.head), state })
    }

    /// Returns the existing package files with their sizes.
    async fn objects(&self) -> Result<HashMap<String, u64>, OfflineError> {
        let (destination, objects) = (self.destination.clone(), self.product.objects_dir());
        let result = tokio::task::spawn_blocking(move || destination.objects(&objects)).await;
        result.unwrap_or_else(|e| Err(OfflineError::Refused(e.to_string())))
    }

    /// Returns the first message of a run: the kind of the download and the product.
    fn announcement(&self, verified_head: Option<&VerifiedHead>) -> String {
        let kind =
            kind_of_download(verified_head.map(|verified_head| &verified_head.head), self.request.first_day);
        match &self.product {
            Product::Cran => format!("Performing {kind} of schema version v3"),
            Product::Bioconductor(version) => {
                format!("Performing {kind} of schema version v4, Bioconductor {version}")
            }
            Product::Binaries(tag) => format!("Performing {kind} of binaries for {tag}"),
            Product::Projects(_) => {
                format!("Performing {kind} of schema version {}/v{}", self.product, self.product.schema())
            }
        }
    }

    fn check_inventory(
        &self,
        inventory: &Inventory,
        current_bundle: &CurrentBundle,
    ) -> Result<(), OfflineError> {
        if !self.request.accept_loss && self.request.subset.is_none() {
            plan::check_loss(inventory, &current_bundle.state)
                .map_err(|reason| OfflineError::Refused(format!("{}: {reason}", self.mirror.address())))?;
        }
        // With an existing head, new files are detected by comparison with it.
        if self.request.first_day.is_some() && !inventory.has_dates && current_bundle.head.is_none() {
            return Err(OfflineError::Usage(format!(
                "--starting-snapshot: {} has no publication times for files of {} (there is no Meta/current.rds); omit the \
                 flag, use a directory with the metadata of the last run, or give another mirror with --base-url",
                self.mirror.address(),
                self.product
            )));
        }
        Ok(())
    }

    fn plan(
        &self,
        inventory: &Inventory,
        state: &ProductState,
        journal_state: &ProductState,
        objects: &HashMap<String, u64>,
    ) -> Result<Plan, OfflineError> {
        let existing_files =
            ExistingFiles { state, journal_state, objects, first_day: self.request.first_day };
        let plan = plan::plan(inventory, &existing_files, self.request.now.day());
        if !self.request.is_dry_run {
            self.destination.require_space(plan.size(), "; existing files are kept")?;
        }
        Ok(plan)
    }

    /// Fetches all planned files; returns the failures.
    async fn fetch(
        &self,
        plan: &Plan,
        journal: &mut Journal,
        incomplete_files: &mut IncompleteFiles,
    ) -> Result<Vec<(String, UpstreamError)>, OfflineError> {
        let progress = Progress::new(self.request.output, plan.fetches.len() as u64, plan.size());
        let readmes = match &self.origin_bundle {
            Some(bundle) if !plan.fetches.is_empty() => {
                bundle_inventory::readmes(bundle, &self.product).await?
            }
            _ => HashMap::new(),
        };
        let target = &FileTarget::new(self.destination, &self.product);
        let mut fetches = self.fetches(target, plan);
        let (mut failures, mut unavailable_count) = (Vec::new(), 0_usize);
        let (mut unsynced_bytes, mut sync_task) = (0, None);
        while let Some((fetch, result)) = fetches.next().await {
            match result {
                Ok(fetched_file) => {
                    unavailable_count = 0;
                    progress.add_file(fetched_file.object.size);
                    unsynced_bytes += fetched_file.object.size;
                    if unsynced_bytes >= SYNC_BYTES && sync_task.as_ref().is_none_or(JoinHandle::is_finished)
                    {
                        unsynced_bytes = 0;
                        let destination = self.destination.clone();
                        let sync = tokio::task::spawn_blocking(move || destination.sync());
                        await_sync(sync_task.replace(sync)).await?;
                    }
                    self.record(fetch, fetched_file, &readmes, journal, incomplete_files)?;
                }
                Err(DownloadFailure::Destination(error, path)) => {
                    return Err(OfflineError::destination("write", &path, error));
                }
                Err(DownloadFailure::Mirror(error)) => {
                    let is_unavailable = matches!(error, UpstreamError::Unavailable { .. });
                    unavailable_count = if is_unavailable { unavailable_count + 1 } else { 0 };
                    if unavailable_count == MAX_UNAVAILABLE_FILES {
                        progress.finish();
                        return Err(OfflineError::Refused(format!(
                            "the mirror no longer responds ({error}); fetched files are kept: run the command again \
                             to resume"
                        )));
                    }
                    match fetch.file.path() {
                        // The archive was fetched again only because it is unreadable; the existing file is kept.
                        path if incomplete_files.needs_confirmation(path) => {
                            self.request.output.warn(&error.to_string())
                        }
                        path => failures.push((path.to_owned(), error)),
                    }
                }
            }
        }
        await_sync(sync_task).await?;
        progress.finish();
        Ok(failures)
    }

    /// Returns a stream of the fetched files of a plan, with limited concurrency.
    fn fetches<'a>(
        &'a self,
        target: &'a FileTarget<'a>,
        plan: &'a Plan,
    ) -> impl Stream<Item = (&'a PlannedFetch, Result<FetchedFile, DownloadFailure>)> + Send + Unpin {
        let run_fetch = move |fetch| async move { (fetch, target.fetch(self.mirror, fetch).await) };
        stream::iter(&plan.fetches).map(run_fetch).buffer_unordered(self.request.concurrency)
    }

    /// Appends a fetched file to the journal, and to the incomplete files if it is unreadable.
    fn record(
        &self,
        fetch: &PlannedFetch,
        fetched_file: FetchedFile,
        readmes: &HashMap<Sha256, String>,
        journal: &mut Journal,
        incomplete_files: &mut IncompleteFiles,
    ) -> Result<(), OfflineError> {
        if fetch.expected_sha256.is_some() {
            return Ok(());
        }
        let (file, FetchedFile { object, contents, .. }) = (&fetch.file, fetched_file);
        if let Some(error) = &contents.error {
            let name = file.path();
            let consequence = if file.is_verifiable() || incomplete_files.needs_confirmation(name) {
                ""
            } else {
                "; the next run fetches it again"
            };
            self.request.output.warn(&format!(
                "{name} is stored, although it cannot be read as a package: {error}{consequence}"
            ));
        }
        if !file.is_verifiable()
            && !incomplete_files.record_archive(file.path(), object.sha256, contents.error.is_none())
        {
            return Ok(());
        }
        if contents.error.is_some() {
            // Saved before the journal names the file, so that the next run fetches it again even after a kill.
            incomplete_files.save(self.destination, &self.product)?;
        }
        let release = match &file.record {
            Some(release) => ReleaseRecord { index: file.index.clone(), ..(**release).clone() },
            None => ReleaseRecord {
                folder: file.folder.clone(),
                name: file.name.clone(),
                version: file.version.clone(),
                day: file.published.unwrap_or(self.request.now).day(),
                published: file.published,
                archived: !file.is_listed && file.published.is_none(),
                obj: object,
                index: file.index.clone(),
                desc: contents.fields,
                compiled: contents.needs_compilation,
                readme: contents.readme.as_ref().map(|(name, text)| Readme {
                    name: name.clone(),
                    sha256: self_digest::digest(text.as_bytes()),
                }),
            },
        };
        let bundle_readme =
            release.readme.as_ref().and_then(|readme| readmes.get(&readme.sha256)).map(String::as_str);
        let readme = contents.readme.as_ref().map(|(_, text)| text.as_str()).or(bundle_readme);
        journal
            .append(ReleaseRecord { readme: release.readme.filter(|_| readme.is_some()), ..release }, readme)
    }

    fn commit(
        &self,
        current_bundle: CurrentBundle,
        inventory: &Inventory,
        plan: &Plan,
        journal: &mut Journal,
    ) -> Result<(), OfflineError> {
        let fields = HeadFields {
            subset: self.request.subset.clone(),
            files: None,
            first_day: self.request.first_day,
            upstream: ProductOrigin { address: self.mirror.address(), serial: inventory.serial },
            now: self.request.now,
        };
        let commit = Commit {
            destination: self.destination,
            product: &self.product,
            previous_head: current_bundle.head.as_ref(),
            fields,
        };
        let message = match commit.write(current_bundle.state, inventory, plan, journal)? {
            None => unchanged_message(&self.product),
            Some(result) => {
                let packages = count_of(result.packages, "package", "packages");
                format!("{}: snapshot {}, {packages}", self.product, result.snapshot)
            }
        };
        self.request.output.info(&message);
        Ok(())
    }

    /// Prints the failures and returns the exit status.
    fn report_failures(&self, failures: &[(String, UpstreamError)]) -> ExitStatus {
        let output = self.request.output;
        if failures.is_empty() {
            return ExitStatus::Complete;
        }
        failures
            .iter()
            .take(MAX_REPORTED_FAILURES)
            .for_each(|(_, failure)| output.warn(&failure.to_string()));
        if failures.len() > MAX_REPORTED_FAILURES {
            output.warn(&format!("and {} more files", failures.len() - MAX_REPORTED_FAILURES));
        }
        output.warn(&format!(
            "{} files could not be fetched from {}; the versions listed before stay listed. Run the command again later, \
             or with another mirror (--base-url)",
            failures.len(),
            self.mirror.address()
        ));
        ExitStatus::Incomplete
    }
}

/// Returns the kind of a download into a bundle with this head, from this first day on.
pub(super) fn kind_of_download(head: Option<&Head>, first_day: Option<Day>) -> String {
    match (head, first_day) {
        (None, None) => "full download".to_owned(),
        (None, Some(first_day)) => format!("incremental download from {first_day}"),
        (Some(head), _) => format!("incremental download after {}", head.snapshot),
    }
}

/// Awaits the background sync. The kernel reports a write error only once, so the result must not be dropped.
async fn await_sync(sync_task: Option<JoinHandle<Result<(), OfflineError>>>) -> Result<(), OfflineError> {
    match sync_task {
        None => Ok(()),
        Some(sync_task) => sync_task.await.unwrap_or_else(|e| Err(OfflineError::Refused(e.to_string()))),
    }
}

fn unchanged_message(product: &Product) -> String {
    format!("{product}: nothing is new")
}

fn print_plan(output: Output, plan: &Plan) {
    output.info(&format!(
        "{} files, {}, would be fetched; {} already exist",
        HumanCount(plan.fetches.len() as u64),
        HumanBytes(plan.size()),
        HumanCount(plan.existing_count as u64)
    ));
}
