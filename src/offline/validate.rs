//! `validate`: checks that a bundle is complete and undamaged, and reports problems by file.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Ending, OfflineError};
use super::file::digest_of;
use super::files::{Found, Walked, walk};
use super::hashing::{Expected, look};
use super::journal;
use super::owed::{self, Owed};
use super::place::{self, LOCK, Place, UNFINISHED};
use super::seen;
use crate::bundle::shared::Shared;
use crate::bundle::{Head, Product, Record, State, layout, seal};
use crate::upstream::UpstreamError;
use crate::upstream::bundle::{Bundle, BundleError, Verified};

/// The problem of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wrong {
    /// Its contents have changed.
    Damaged,
    /// It does not exist.
    Missing,
    /// The account that owns the bundle cannot read it.
    Unreadable,
    /// Nothing refers to it.
    Extra,
}

impl Wrong {
    pub(super) fn word(self) -> &'static str {
        match self {
            Wrong::Damaged => "damaged",
            Wrong::Missing => "missing",
            Wrong::Unreadable => "unreadable",
            Wrong::Extra => "extra",
        }
    }
}

/// A file with a problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// Relative to the bundle.
    pub(super) file: String,
    pub(super) wrong: Wrong,
    /// Details and the way out.
    pub(super) text: String,
}

/// Result of a check.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    /// Summary lines of the checked data.
    pub(super) summary: Vec<String>,
}

impl Report {
    pub(super) fn add(&mut self, file: impl Into<String>, wrong: Wrong, text: impl Into<String>) {
        self.findings.push(Finding { file: file.into(), wrong, text: text.into() });
    }

    pub(super) fn ending(&self) -> Ending {
        if self.findings.iter().any(|finding| finding.wrong == Wrong::Damaged) {
            return Ending::Damaged;
        }
        if self.findings.is_empty() { Ending::Complete } else { Ending::Incomplete }
    }
}

/// Returns true if a product has files: a folder with only a lock is from a download that found nothing on its mirror.
pub(super) fn is_begun(destination: &Place, product: &Product) -> Result<bool, OfflineError> {
    Ok(place::names(&destination.path(&product.root()))?.iter().any(|name| name != LOCK))
}

/// A running check.
pub(super) struct Check<'a> {
    pub(super) destination: &'a Place,
    pub(super) bundle: Bundle,
    pub(super) packages: bool,
    pub(super) report: Report,
    /// Every file that belongs to the bundle.
    known: BTreeSet<String>,
    /// Package files by path.
    objects: BTreeMap<String, Expected>,
}

impl<'a> Check<'a> {
    pub(super) fn new(destination: &'a Place, bundle: Bundle, packages: bool) -> Check<'a> {
        Check {
            destination,
            bundle,
            packages,
            report: Report::default(),
            known: BTreeSet::new(),
            objects: BTreeMap::new(),
        }
    }

    /// Checks a product's metadata and collects its package files.
    pub(super) async fn product(&mut self, product: &Product) -> Result<(), OfflineError> {
        if let Some((marker, text)) = product.marker() {
            self.known.insert(marker.to_owned());
            match std::fs::read(self.destination.path(marker)) {
                Ok(there) if there == text.as_bytes() => {}
                Ok(_) => {
                    self.report.add(marker, Wrong::Damaged, format!("the contents must be {}", text.trim()));
                }
                Err(_) => self.report.add(marker, Wrong::Missing, "copy it again"),
            }
        }
        self.known.insert(product.head());
        let verified = match self.bundle.head_or_difference(product).await {
            Ok(verified) => verified,
            Err(error) => {
                self.trouble(&product.head(), &error);
                return Ok(());
            }
        };
        self.heads(product, &verified)?;
        if let Some(base) = &verified.missing {
            self.report.add(
                product.head_of(base.snapshot, false),
                Wrong::Missing,
                format!(
                    "the base is missing: this is a difference from {0}; copy it over the bundle whose snapshot is {0} or later",
                    base.snapshot
                ),
            );
        }
        let state = self.segments(product, &verified).await;
        let releases = state.releases().count();
        for ((folder, name), release) in state.releases() {
            let path = product.object(release.object.sha256, &release.object.ext);
            let label = crate::bundle::state::line(folder, name, &release.version);
            let (size, sha256) = (release.object.size, release.object.sha256);
            self.objects.insert(path, Expected { label, size, sha256 });
        }
        if verified.missing.is_none() {
            for line in state.wanting() {
                let text = format!("{line} is listed, but no segment has it: the base is the wrong one");
                self.report.add(product.head(), Wrong::Missing, text);
            }
        }
        let incomplete = Owed::read(self.destination, product);
        for (path, why) in &incomplete.missing {
            let text = format!("the mirror lists it, but it could not be fetched ({why}); run get again");
            self.report.add(path, Wrong::Missing, text);
        }
        let mut summary = format!(
            "{product}: snapshot {}, {} packages, {releases} releases",
            verified.head.snapshot, verified.head.packages
        );
        if !incomplete.missing.is_empty() {
            summary += &format!("; {} files of the mirror are missing", incomplete.missing.len());
        }
        if incomplete.unreadable() > 0 {
            summary += &format!("; {} archives cannot be read as packages", incomplete.unreadable());
        }
        self.report.summary.push(summary);
        Ok(())
    }

    /// Checks earlier heads: those that the newest head names must exist, and all must be unchanged.
    fn heads(&mut self, product: &Product, verified: &Verified) -> Result<(), OfflineError> {
        let named: BTreeMap<String, _> = verified
            .head
            .earlier
            .iter()
            .map(|earlier| (product.path(&earlier.path), earlier.sha256))
            .collect();
        let folder = product.path(layout::HEADS);
        let mut there = BTreeSet::new();
        for name in place::names(&self.destination.path(&folder))? {
            let file = format!("{folder}/{name}");
            if name.starts_with(UNFINISHED) || !name.ends_with(".json") {
                continue;
            }
            self.known.insert(file.clone());
            let bytes = std::fs::read(self.destination.path(&file)).unwrap_or_default();
            match Head::read(&bytes, product) {
                Err(broken) => self.report.add(&file, Wrong::Damaged, format!("{broken}; copy it again")),
                Ok(head) if head.copy(product) != file => {
                    self.report.add(
                        &file,
                        Wrong::Damaged,
                        format!("it is the head of {}; copy it again", head.snapshot),
                    );
                }
                Ok(head) if head.serial > verified.head.serial => {
                    let text =
                        format!("it is older than {file}: it was replaced by an older one; copy it again");
                    self.report.add(product.head(), Wrong::Damaged, text);
                }
                Ok(_) if named.get(&file).is_some_and(|sha256| *sha256 != seal::digest(&bytes)) => {
                    self.report.add(
                        &file,
                        Wrong::Damaged,
                        "it is not the one that the newest head names; copy it again",
                    );
                }
                Ok(_) => {}
            }
            there.insert(file);
        }
        // Reads the file itself: joined with its bases, a difference looks complete.
        let own = std::fs::read(self.destination.path(&product.head())).unwrap_or_default();
        let newest = Head::read(&own, product).map_or_else(|_| product.head(), |head| head.copy(product));
        for file in
            named.keys().chain([&newest]).filter(|file| !there.contains(*file) && **file != product.head())
        {
            self.report.add(file, Wrong::Missing, "copy it again");
        }
        if there.contains(&newest)
            && std::fs::read(self.destination.path(&newest)).is_ok_and(|copy| copy != own)
        {
            let text = format!("it is not the same as {}; copy it again", product.head());
            self.report.add(newest, Wrong::Damaged, text);
        }
        Ok(())
    }

    async fn segments(&mut self, product: &Product, verified: &Verified) -> State {
        let mut state = State::default();
        let mut whole = true;
        for segment in verified.since(0) {
            let path = product.path(&segment.file.path);
            self.known.insert(path.clone());
            self.known.extend(segment.readmes.as_ref().map(|readmes| product.path(&readmes.path)));
            if let Err(error) = self.bundle.readmes(product, segment).await {
                let file =
                    segment.readmes.as_ref().map_or(path.clone(), |readmes| product.path(&readmes.path));
                self.trouble(&file, &error);
            }
            match self.bundle.segment(product, segment).await {
                Err(error) => {
                    whole = false;
                    self.trouble(&path, &error);
                }
                Ok(records) => {
                    for record in records {
                        if let Record::Ver(ver) = &record {
                            self.known.insert(product.object(ver.obj.sha256, &ver.obj.ext));
                        }
                        // After a missing segment, which is reported, records no longer apply.
                        if let Err(reason) = state.apply(&record)
                            && whole
                            && verified.missing.is_none()
                        {
                            self.report.add(&path, Wrong::Damaged, reason);
                            whole = false;
                        }
                    }
                }
            }
        }
        state
    }

    /// Checks the map of versions of Bioconductor.
    pub(super) async fn bioconductor(&mut self) {
        let file = layout::BIOCONDUCTOR_CONFIG;
        self.known.insert(file.to_owned());
        match self.bundle.bioconductor().await {
            Ok(Some(_)) => {}
            Ok(None) => self.report.add(file, Wrong::Missing, "copy it again"),
            Err(error) => self.trouble(file, &error),
        }
    }

    /// Checks shared data.
    pub(super) async fn shared(&mut self, shared: Shared) {
        let file = format!("{}/{}", shared.folder(), layout::HEAD);
        match self.bundle.shared(shared).await {
            Ok(None) => {
                let folder = place::names(&self.destination.path(shared.folder())).unwrap_or_default();
                if folder.iter().any(|name| !name.starts_with('.')) {
                    self.report.add(file, Wrong::Missing, "copy it again");
                }
            }
            Ok(Some(head)) => {
                self.known.insert(file);
                for packed in head.files.values() {
                    let path = format!("{}/{}", shared.folder(), packed.path);
                    if let Err(error) = self.bundle.shared_file(shared, packed).await {
                        self.trouble(&path, &error);
                    }
                    self.known.insert(path);
                }
            }
            Err(error) => {
                self.known.insert(file.clone());
                self.trouble(&file, &error);
            }
        }
    }

    /// Walks these folders: reads every package file and reports unreferenced files.
    pub(super) fn files(&mut self, folders: &[String]) -> Result<(), OfflineError> {
        let Walked { files, troubles } = walk(self.destination, folders)?;
        for (file, text) in troubles {
            self.report.add(file, Wrong::Unreadable, text);
        }
        for (path, expected) in &self.objects {
            if self.packages && !files.contains_key(path) {
                let text = format!("the file of {}; copy it again, or run get again", expected.label);
                self.report.add(path, Wrong::Missing, text);
            }
        }
        for (path, found) in &files {
            self.one(path, found);
        }
        if self.packages {
            let there = self.objects.iter().filter(|(path, _)| matches!(files.get(*path), Some(Found::File)));
            let (looked, wrong) = look(self.destination, there.collect());
            self.report.summary.push(looked);
            for (path, wrong, text) in wrong {
                self.report.add(path, wrong, text);
            }
        }
        self.report.findings.sort();
        self.report.findings.dedup_by(|a, b| a.file == b.file && a.wrong == b.wrong);
        Ok(())
    }

    fn one(&mut self, path: &str, found: &Found) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let belongs = self.known.contains(path);
        match found {
            Found::Link if belongs || self.packages => {
                let text = "it is a link; copy the file itself (cp -L, rsync -L)";
                self.report.add(path, Wrong::Damaged, text);
            }
            Found::Other if belongs || self.packages => {
                self.report.add(path, Wrong::Damaged, "it is not a regular file; copy it again");
            }
            Found::Unreadable { owner } if belongs || self.packages => {
                let text = format!(
                    "the owner of the directory (uid {owner}) cannot read it; chown -R it to the account of the server"
                );
                self.report.add(path, Wrong::Unreadable, text);
            }
            _ if belongs || [LOCK, seen::FILE, owed::FILE].contains(&name) => {}
            _ if journal::FILES.contains(&name) => {
                self.report.add(
                    path,
                    Wrong::Extra,
                    "a download was not finished; run get again to resume it",
                );
            }
            _ if !self.packages || self.is_older(path) => {}
            _ => self.report.add(path, Wrong::Extra, "nothing refers to it; it can be removed"),
        }
    }

    /// Returns true for an intact file of shared data that was replaced since, as a copy over an older directory leaves
    /// it. The file name contains the digest.
    fn is_older(&self, path: &str) -> bool {
        let digest = path.split_once('/').and_then(|(folder, name)| {
            Shared::ALL.into_iter().find(|shared| shared.folder() == folder)?;
            let (stem, ending) = name.split_once('.')?;
            let (_, digest) = stem.rsplit_once('-')?;
            (digest.len() == 16 && ["json.zst", "ndjson.zst"].contains(&ending)).then_some(digest)
        });
        digest.is_some_and(|digest| {
            digest_of(&self.destination.path(path)).is_ok_and(|found| found.to_string().starts_with(digest))
        })
    }

    fn trouble(&mut self, file: &str, error: &BundleError) {
        let wrong = match error {
            BundleError::Absent { .. } | BundleError::Missing { .. } | BundleError::NoBase { .. } => {
                Wrong::Missing
            }
            BundleError::Broken { .. } | BundleError::Upstream(UpstreamError::Refused { .. }) => {
                Wrong::Damaged
            }
            BundleError::Upstream(UpstreamError::Missing(_)) => Wrong::Missing,
            BundleError::Upstream(UpstreamError::Unavailable { .. }) => Wrong::Unreadable,
        };
        self.report.add(file, wrong, error.to_string());
    }
}
