//! `validate`: checks that a bundle is complete and undamaged, and reports problems by file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::destination::{self, Destination, LOCK, TEMP_PREFIX};
use super::error::{ExitStatus, OfflineError};
use super::file::digest_of;
use super::files::{FileKind, WalkResult, walk};
use super::incomplete_files::{self, IncompleteFiles};
use super::setup::client;
use super::verify_files::{ExpectedFile, Finding, Problem, verify};
use super::{journal, last_run};
use base::model::text::count_of;
use formats::bundle::shared::SharedFolder;
use formats::bundle::{Head, Product, ProductState, Record, layout, self_digest};
use formats::tlog::note::VerifierKey;
use upstream::UpstreamError;
use upstream::origin::bundle::{Bundle, BundleError, VerifiedHead};

#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    /// Summary lines of the checked data.
    pub(super) summary: Vec<String>,
}

impl Report {
    pub(super) fn add(&mut self, file: impl Into<String>, problem: Problem, text: impl Into<String>) {
        self.findings.push(Finding { file: file.into(), problem, text: text.into() });
    }

    pub(super) fn exit_status(&self) -> ExitStatus {
        if self.findings.iter().any(|finding| finding.problem == Problem::Damaged) {
            return ExitStatus::Damaged;
        }
        if self.findings.is_empty() { ExitStatus::Complete } else { ExitStatus::Incomplete }
    }
}

/// Returns whether a product has files: a folder with only a lock is from a download that found nothing on the mirror.
pub(super) fn has_files(destination: &Destination, product: &Product) -> Result<bool, OfflineError> {
    Ok(destination::names(&destination.path(&product.root()))?.iter().any(|name| name != LOCK))
}

pub(super) struct Check {
    pub(super) destination: Destination,
    pub(super) bundle: Bundle,
    /// Whether every package file is read and unreferenced files are reported.
    pub(super) reads_packages: bool,
    pub(super) report: Report,
    /// Every file that belongs to the bundle.
    referenced_files: BTreeSet<String>,
    objects: BTreeMap<String, ExpectedFile>,
    /// Whether metadata is damaged or missing: then files that seem unreferenced may be referenced by that metadata.
    is_metadata_incomplete: bool,
}

impl Check {
    /// Opens the bundle in a directory; with keys, one of them must have signed it.
    pub(super) fn open(
        directory: &Path,
        reads_packages: bool,
        keys: Vec<VerifierKey>,
    ) -> Result<Check, OfflineError> {
        let destination = Destination::open(directory)?;
        let bundle = client(None, None)?.bundle(&destination.url()?)?.requiring(keys.into());
        Ok(Check {
            destination,
            bundle,
            reads_packages,
            report: Report::default(),
            referenced_files: BTreeSet::new(),
            objects: BTreeMap::new(),
            is_metadata_incomplete: false,
        })
    }

    /// Checks a product's metadata and collects its package files.
    pub(super) async fn check_product(&mut self, product: &Product) -> Result<(), OfflineError> {
        let Some(verified_head) = self.check_head(product).await? else { return Ok(()) };
        let state = self.check_segments(product, &verified_head).await;
        let releases = state.releases().count();
        for ((folder, name), release) in state.releases() {
            let path = product.object_path(release.object.sha256, &release.object.ext);
            let label = formats::bundle::state::listing_line(folder, name, &release.version);
            let (size, sha256) = (release.object.size, release.object.sha256);
            self.objects.insert(path, ExpectedFile { label, size, sha256 });
        }
        if verified_head.missing_base.is_none() {
            for line in state.missing_releases() {
                let text = format!("{line} is listed, but no segment has it: the base is the wrong one");
                self.report.add(product.head_path(), Problem::Missing, text);
            }
        }
        let summary = format!(
            "{product}: snapshot {}, {}, {}",
            verified_head.head.snapshot,
            count_of(verified_head.head.packages, "package", "packages"),
            count_of(releases, "release", "releases")
        );
        self.add_summary(product, summary);
        Ok(())
    }

    /// Adds the line of a product to the summary, and reports the files that could not be fetched.
    pub(super) fn add_summary(&mut self, product: &Product, mut summary: String) {
        let incomplete_files = IncompleteFiles::read(&self.destination, product);
        for (path, reason) in &incomplete_files.missing_files {
            let text = format!("the mirror lists it, but it could not be fetched ({reason}); run get again");
            self.report.add(path, Problem::Missing, text);
        }
        if !incomplete_files.missing_files.is_empty() {
            summary += &format!("; {} files of the mirror are missing", incomplete_files.missing_files.len());
        }
        if incomplete_files.unreadable_count() > 0 {
            summary +=
                &format!("; {} archives cannot be read as packages", incomplete_files.unreadable_count());
        }
        self.report.summary.push(summary);
    }

    /// Adds a package file of the bundle.
    pub(super) fn add_object(&mut self, path: String, expected_file: ExpectedFile) {
        self.referenced_files.insert(path.clone());
        self.objects.insert(path, expected_file);
    }

    /// Adds a file that belongs to the bundle.
    pub(super) fn add_reference(&mut self, path: String) {
        self.referenced_files.insert(path);
    }

    /// Checks the marker and the heads of a product; `None` if the newest head cannot be read, which is reported.
    pub(super) async fn check_head(
        &mut self,
        product: &Product,
    ) -> Result<Option<VerifiedHead>, OfflineError> {
        if let Some((marker, text)) = product.marker() {
            self.referenced_files.insert(marker.clone());
            match std::fs::read(self.destination.path(&marker)) {
                Ok(bytes) if bytes == text.as_bytes() => {}
                Ok(_) => {
                    self.report.add(
                        marker,
                        Problem::Damaged,
                        format!("the contents must be {}", text.trim()),
                    );
                }
                Err(_) => self.report.add(marker, Problem::Missing, "copy it again"),
            }
        }
        self.referenced_files.insert(product.head_path());
        let verified_head = match self.bundle.head_or_incremental(product).await {
            Ok(verified_head) => verified_head,
            Err(error) => {
                self.report_error(&product.head_path(), &error);
                return Ok(None);
            }
        };
        self.check_heads(product, &verified_head).await?;
        if let Some(base) = &verified_head.missing_base {
            self.report.add(
                product.dated_head_path(base.snapshot, false),
                Problem::Missing,
                format!(
                    "the base is missing: this is an incremental bundle from {0}; copy it over the bundle whose snapshot is {0} or later",
                    base.snapshot
                ),
            );
        }
        Ok(Some(verified_head))
    }

    /// Checks earlier heads: those that the newest head names must exist, and all must be unchanged.
    async fn check_heads(
        &mut self,
        product: &Product,
        verified_head: &VerifiedHead,
    ) -> Result<(), OfflineError> {
        let named_heads: BTreeMap<String, _> = verified_head
            .head
            .earlier
            .iter()
            .map(|earlier_head| (product.path(&earlier_head.path), earlier_head.sha256))
            .collect();
        let folder = product.path(layout::HEADS);
        let mut existing_heads = BTreeSet::new();
        for name in destination::names(&self.destination.path(&folder))? {
            let file = format!("{folder}/{name}");
            if name.starts_with(TEMP_PREFIX) || !name.ends_with(".json") {
                continue;
            }
            self.referenced_files.insert(file.clone());
            let bytes = std::fs::read(self.destination.path(&file)).unwrap_or_default();
            if let Err(error) = self.bundle.check_signature(&file, &bytes).await {
                self.report_error(&file, &error);
            }
            match Head::read(&bytes, product) {
                Err(error) => self.report.add(&file, Problem::Damaged, format!("{error}; copy it again")),
                Ok(head) if head.dated_path(product) != file => {
                    self.report.add(
                        &file,
                        Problem::Damaged,
                        format!("it is the head of {}; copy it again", head.snapshot),
                    );
                }
                Ok(head) if head.serial > verified_head.head.serial => {
                    let text =
                        format!("it is older than {file}: an older copy was written over it; copy it again");
                    self.report.add(product.head_path(), Problem::Damaged, text);
                }
                Ok(_)
                    if named_heads
                        .get(&file)
                        .is_some_and(|sha256| *sha256 != self_digest::digest(&bytes)) =>
                {
                    self.report.add(
                        &file,
                        Problem::Damaged,
                        "it is not the one that the newest head names; copy it again",
                    );
                }
                Ok(_) => {}
            }
            existing_heads.insert(file);
        }
        // Reads the file itself: a head that is joined with its bases seems complete.
        let newest_bytes = std::fs::read(self.destination.path(&product.head_path())).unwrap_or_default();
        let newest_copy = Head::read(&newest_bytes, product)
            .map_or_else(|_| product.head_path(), |head| head.dated_path(product));
        for file in named_heads
            .keys()
            .chain([&newest_copy])
            .filter(|file| !existing_heads.contains(*file) && **file != product.head_path())
        {
            self.report.add(file, Problem::Missing, "copy it again");
        }
        if existing_heads.contains(&newest_copy)
            && std::fs::read(self.destination.path(&newest_copy)).is_ok_and(|copy| copy != newest_bytes)
        {
            let text = format!("it is not the same as {}; copy it again", product.head_path());
            self.report.add(newest_copy, Problem::Damaged, text);
        }
        Ok(())
    }

    /// Checks the segments and the READMEs of a product; returns the state of all readable segments.
    async fn check_segments(&mut self, product: &Product, verified_head: &VerifiedHead) -> ProductState {
        let mut state = ProductState::default();
        let mut is_intact = true;
        for segment in verified_head.since(0) {
            let path = product.path(&segment.file.path);
            self.referenced_files.insert(path.clone());
            self.referenced_files.extend(segment.readmes.as_ref().map(|readmes| product.path(&readmes.path)));
            if let Err(error) = self.bundle.readmes(product, segment).await {
                let file =
                    segment.readmes.as_ref().map_or(path.clone(), |readmes| product.path(&readmes.path));
                self.report_error(&file, &error);
            }
            match self.bundle.segment(product, segment).await {
                Err(error) => {
                    is_intact = false;
                    self.report_error(&path, &error);
                }
                Ok(records) => {
                    for record in records {
                        if let Record::Release(release) = &record {
                            self.referenced_files
                                .insert(product.object_path(release.obj.sha256, &release.obj.ext));
                        }
                        // After a missing segment, which is reported, records no longer apply.
                        if let Err(reason) = state.apply(&record)
                            && is_intact
                            && verified_head.missing_base.is_none()
                        {
                            self.report.add(&path, Problem::Damaged, reason);
                            is_intact = false;
                        }
                    }
                }
            }
        }
        state
    }

    /// Checks the file with the versions of Bioconductor.
    pub(super) async fn check_bioconductor(&mut self) {
        let file = layout::BIOCONDUCTOR_CONFIG;
        self.referenced_files.insert(file.to_owned());
        match self.bundle.bioconductor().await {
            Ok(Some(_)) => {}
            Ok(None) => self.report.add(file, Problem::Missing, "copy it again"),
            Err(error) => self.report_error(file, &error),
        }
    }

    pub(super) async fn check_shared(&mut self, shared: SharedFolder) {
        let file = format!("{}/{}", shared.folder(), layout::HEAD);
        match self.bundle.shared_head(shared).await {
            Ok(None) => {
                let folder = destination::names(&self.destination.path(shared.folder())).unwrap_or_default();
                if folder.iter().any(|name| !name.starts_with('.')) {
                    self.report.add(file, Problem::Missing, "copy it again");
                }
            }
            Ok(Some(head)) => {
                self.referenced_files.insert(file);
                for compressed_file in head.files.values() {
                    let path = format!("{}/{}", shared.folder(), compressed_file.path);
                    if let Err(error) = self.bundle.shared_file(shared, compressed_file).await {
                        self.report_error(&path, &error);
                    }
                    self.referenced_files.insert(path);
                }
            }
            Err(error) => {
                self.referenced_files.insert(file.clone());
                self.report_error(&file, &error);
            }
        }
    }

    /// Checks the data that CRAN and Bioconductor share; returns its folders.
    pub(super) async fn check_all_shared(&mut self) -> Vec<String> {
        for shared in SharedFolder::ALL {
            self.check_shared(shared).await;
        }
        SharedFolder::ALL.iter().map(|shared| shared.folder().to_owned()).collect()
    }

    /// Walks these folders and reports files with a problem; with `reads_packages`, also reads every package file and
    /// reports unreferenced files.
    pub(super) fn check_files(&mut self, folders: &[String]) -> Result<(), OfflineError> {
        let WalkResult { files, unreadable_folders } = walk(&self.destination, folders)?;
        for (file, text) in unreadable_folders {
            self.report.add(file, Problem::Unreadable, text);
        }
        for (path, expected_file) in &self.objects {
            if self.reads_packages && !files.contains_key(path) {
                let text = format!("the file of {}; copy it again, or run get again", expected_file.label);
                self.report.add(path, Problem::Missing, text);
            }
        }
        for (path, kind) in &files {
            self.check_file(path, kind);
        }
        // Advisories have no package files.
        if self.reads_packages && !self.objects.is_empty() {
            let existing_objects =
                self.objects.iter().filter(|(path, _)| matches!(files.get(*path), Some(FileKind::File)));
            let (summary, findings) = verify(&self.destination, existing_objects.collect());
            self.report.summary.push(summary);
            for (path, problem, text) in findings {
                self.report.add(path, problem, text);
            }
        }
        self.report.findings.sort();
        self.report.findings.dedup_by(|a, b| a.file == b.file && a.problem == b.problem);
        Ok(())
    }

    fn check_file(&mut self, path: &str, kind: &FileKind) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let is_referenced = self.referenced_files.contains(path);
        match kind {
            FileKind::Link if is_referenced || self.reads_packages => {
                let text = "it is a link; copy the file itself (cp -L, rsync -L)";
                self.report.add(path, Problem::Damaged, text);
            }
            FileKind::Other if is_referenced || self.reads_packages => {
                self.report.add(path, Problem::Damaged, "it is not a regular file; copy it again");
            }
            FileKind::Unreadable { owner } if is_referenced || self.reads_packages => {
                let text = format!(
                    "the owner of the directory (uid {owner}) cannot read it; chown -R it to the account of the server"
                );
                self.report.add(path, Problem::Unreadable, text);
            }
            _ if is_referenced || [LOCK, last_run::FILE, incomplete_files::FILE].contains(&name) => {}
            // Notes of replaced heads remain.
            _ if layout::is_note(path) => {}
            _ if journal::FILES.contains(&name) => {
                self.report.add(
                    path,
                    Problem::Extra,
                    "a download was not finished; run get again to resume it",
                );
            }
            _ if !self.reads_packages || self.is_replaced(path) => {}
            _ if self.is_metadata_incomplete => self.report.add(
                path,
                Problem::Extra,
                "the readable metadata does not refer to it; keep it until the damaged or missing metadata is replaced",
            ),
            _ => self.report.add(path, Problem::Extra, "nothing refers to it; it can be removed"),
        }
    }

    /// Returns true for an intact file of an earlier version of the shared data. Such files remain when a newer bundle
    /// is copied over an older one. The file name contains the digest.
    fn is_replaced(&self, path: &str) -> bool {
        let digest = path.split_once('/').and_then(|(folder, name)| {
            SharedFolder::ALL.into_iter().find(|shared| shared.folder() == folder)?;
            let (stem, ending) = name.split_once('.')?;
            let (_, digest) = stem.rsplit_once('-')?;
            (digest.len() == 16 && ["json.zst", "ndjson.zst"].contains(&ending)).then_some(digest)
        });
        digest.is_some_and(|digest| {
            digest_of(&self.destination.path(path)).is_ok_and(|sha256| sha256.to_string().starts_with(digest))
        })
    }

    pub(super) fn report_error(&mut self, file: &str, error: &BundleError) {
        self.is_metadata_incomplete = true;
        let problem = match error {
            BundleError::Absent { .. }
            | BundleError::Missing { .. }
            | BundleError::Unsigned { .. }
            | BundleError::NoBase { .. } => Problem::Missing,
            BundleError::Damaged { .. } | BundleError::Upstream(UpstreamError::Refused { .. }) => {
                Problem::Damaged
            }
            BundleError::Upstream(UpstreamError::Missing(_)) => Problem::Missing,
            BundleError::Upstream(UpstreamError::Unavailable { .. }) => Problem::Unreadable,
        };
        self.report.add(file, problem, error.to_string());
    }
}
