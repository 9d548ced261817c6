//! Selects the binary of a release to serve, by platform, processor and snapshot date.

use super::file::Located;
use super::index::{BinaryIndex, Document, IndexEncoding};
use super::negotiate::{self, PlatformChoice};
use super::{RepoError, Repositories};
use crate::catalog::{BINARY_ROLE, Catalog};
use crate::config::platforms::Distribution;
use crate::db::{self, binary::Binary};
use crate::model::digest::Sha256;
use crate::model::ids::{Seq, SourceId, TreeId};
use crate::model::point::Point;
use crate::model::snapshot::Snapshot;
use crate::model::time::Timestamp;
use crate::r::layout::RMinor;
use crate::r::platform::{ANY_ARCH, Arch, Platform};

/// Selects the binaries of a platform that a snapshot shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BinarySelector {
    /// The platform.
    pub platform: Platform,
    /// The newest binary before this instant is served, else the first after it: the versions in a snapshot never
    /// change, and a binary that was added late is better than none.
    pub until: Timestamp,
}

/// The binary lists of a source that have a published head, with their labels.
pub(super) fn heads(catalog: &Catalog, source: SourceId) -> impl Iterator<Item = (&str, TreeId, Seq)> {
    let of = move |tree: &&crate::catalog::Tree| tree.source == source && tree.role == BINARY_ROLE;
    let lists = catalog.trees.iter().filter(of);
    lists.filter_map(|tree| Some((tree.label.as_str(), tree.id, tree.steps.last()?.seq)))
}

/// The binary list with this label.
pub(super) fn head(catalog: &Catalog, source: SourceId, label: &str) -> Option<(TreeId, Seq)> {
    heads(catalog, source).find(|(known, ..)| *known == label).map(|(_, tree, seq)| (tree, seq))
}

/// Whether a binary runs on a processor; some run on every one.
#[must_use]
pub fn runs_on(binary: &Binary, arch: Arch) -> bool {
    let made_for = binary.platform.rsplit_once('/').map(|(_, made_for)| made_for);
    made_for == Some(arch.as_str()) || made_for == Some(ANY_ARCH)
}

/// Whether a binary may be served: a removed one is only served for snapshots of the time it was listed.
fn is_visible(binary: &Binary, until: Timestamp) -> bool {
    binary.removed_at.is_none_or(|at| binary.at < until && until <= at)
}

/// Selects the binary to serve among those of one release, which are sorted oldest first.
pub(super) fn pick(binaries: &[Binary], arch: Arch, until: Timestamp) -> Option<&Binary> {
    let mut fit = binaries.iter().filter(|binary| runs_on(binary, arch) && is_visible(binary, until));
    fit.clone().rfind(|binary| binary.at < until).or_else(|| fit.next())
}

impl Repositories {
    /// Decides which platform a client needs, before any binary is looked up.
    #[must_use]
    pub fn choose_platform(
        &self,
        distribution: &Distribution,
        asked: &negotiate::ClientPlatform<'_>,
    ) -> PlatformChoice {
        negotiate::choose(distribution, asked, |r| self.may_have_binaries(&distribution.name, r))
    }

    /// Returns the selector of a platform's binaries at a snapshot.
    #[must_use]
    pub fn binary_selector(&self, platform: Platform, snapshot: Snapshot) -> BinarySelector {
        BinarySelector { platform, until: self.binaries_until(snapshot) }
    }

    /// The instant that separates the binaries of a snapshot from later ones.
    #[must_use]
    fn binaries_until(&self, snapshot: Snapshot) -> Timestamp {
        match snapshot {
            Snapshot::Latest => Timestamp(i64::MAX),
            Snapshot::Date(day) => day.end(),
            Snapshot::Transaction(id) => {
                let at = self.state.catalog.get().instant(id);
                Timestamp(at.map_or(i64::MAX, |at| at.0.saturating_add(1)))
            }
        }
    }

    /// Returns the binary to serve instead of a source package, if there is one. May query servers that negotiate
    /// binaries.
    ///
    /// # Errors
    /// The database; [`RepoError::Upstream`] when no server answered.
    pub async fn binary_of(
        &self,
        source: &Located,
        selector: &BinarySelector,
    ) -> Result<Option<Located>, RepoError> {
        let head = head(&self.state.catalog.get(), source.source(), &selector.platform.label());
        if let Some((tree, seq)) = head {
            let (package, release) = source.release();
            let found =
                self.state.db.read(move |c| db::binary::of_release(c, tree, seq, package, release)).await?;
            if let Some(binary) = pick(&found, selector.platform.arch, selector.until) {
                return Ok(Some(source.with_binary(binary, &selector.platform)));
            }
        }
        self.remote_binary(source, &selector.platform).await
    }

    /// Returns the binary of a source package with this digest, including replaced ones.
    ///
    /// # Errors
    /// The database.
    pub async fn binary_by_digest(
        &self,
        source: &Located,
        selector: &BinarySelector,
        sha256: Sha256,
    ) -> Result<Option<Located>, RepoError> {
        let BinarySelector { platform, until } = selector;
        let (package, release) = source.release();
        if let Some((tree, seq)) = head(&self.state.catalog.get(), source.source(), &platform.label()) {
            let of = self.state.db.read(move |c| db::binary::of_release(c, tree, seq, package, release));
            let is = |binary: &&Binary| {
                binary.sha256 == Some(sha256) && runs_on(binary, platform.arch) && is_visible(binary, *until)
            };
            if let Some(binary) = of.await?.iter().rfind(is) {
                return Ok(Some(source.with_binary(binary, platform)));
            }
        }
        let found =
            self.discovered_binary(release, platform).await?.filter(|found| found.sha256 == Some(sha256));
        Ok(found.map(|found| source.with_discovered_binary(found, platform)))
    }

    /// The index of a point with binaries: of all packages (`full`), or only of those that have one.
    #[must_use]
    pub fn binary_document(
        &self,
        point: &Point,
        selector: &BinarySelector,
        full: bool,
        form: IndexEncoding,
    ) -> Document {
        let catalog = self.state.catalog.get();
        let label = selector.platform.label();
        let head = |source| head(&catalog, source, &label).map(|(tree, seq)| (source, tree, seq));
        let heads: Vec<_> = point.trees.iter().filter_map(|tree| head(tree.source)).collect();
        if !heads.is_empty() {
            return Document::Binaries(BinaryIndex { selector: selector.clone(), full, form, heads });
        }
        match (full, form) {
            (false, form) => Document::Empty(form),
            (true, IndexEncoding::Text) => Document::Packages,
            (true, IndexEncoding::Gz) => Document::PackagesGz,
            (true, IndexEncoding::Rds) => Document::PackagesRds,
        }
    }

    /// Whether there may be binaries for a distribution and a version of R: a source has one, or the version is
    /// configured.
    #[must_use]
    pub fn may_have_binaries(&self, distribution: &str, r: RMinor) -> bool {
        let label = format!("{r}-{distribution}");
        let known = self.state.config.load().platforms.r_versions.contains(&r.to_string());
        known || has_binary_list(&self.state.catalog.get(), |of| of == label)
    }
}

/// Whether any source has a binary list with such a label.
#[must_use]
pub fn has_binary_list(catalog: &Catalog, label: impl Fn(&str) -> bool) -> bool {
    catalog.trees.iter().any(|tree| tree.role == BINARY_ROLE && !tree.steps.is_empty() && label(&tree.label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::file::FileState;
    use crate::model::ids::{FileId, PackageId, ReleaseId};

    fn binary(number: i64, made_for: &str, at: i64) -> Binary {
        Binary {
            package: PackageId(1),
            release: ReleaseId(1),
            file: FileId(number),
            platform: format!("4.5-noble/{made_for}"),
            number,
            name: "x_1.0.tar.gz".to_owned(),
            locator: String::new(),
            size: None,
            md5: None,
            sha256: None,
            state: FileState::Stored,
            class: None,
            at: Timestamp(at),
            removed_at: None,
            stanza: Vec::new(),
        }
    }

    #[test]
    fn the_newest_before_the_day_ends_else_the_first_after_it() {
        let binaries = [binary(1, "x86_64", 10), binary(2, "x86_64", 20), binary(3, "x86_64", 30)];
        let file = |until| pick(&binaries, Arch::X86_64, Timestamp(until)).map(|b| b.file.0);
        assert_eq!([5, 10, 11, 20, 21, 99].map(file), [Some(1), Some(1), Some(1), Some(1), Some(2), Some(3)]);
        assert_eq!(pick(&[], Arch::X86_64, Timestamp(99)), None);
    }

    #[test]
    fn a_removed_binary_stays_in_the_snapshots_that_had_it() {
        let removed = |binary: Binary, at| Binary { removed_at: Some(Timestamp(at)), ..binary };
        // The first was replaced at 20 and must not reappear when the second is removed.
        let binaries = [removed(binary(1, "x86_64", 10), 20), removed(binary(2, "x86_64", 20), 30)];
        let file = |until| pick(&binaries, Arch::X86_64, Timestamp(until)).map(|b| b.file.0);
        assert_eq!(
            [5, 11, 20, 21, 30, 31, i64::MAX].map(file),
            [None, Some(1), Some(1), Some(2), Some(2), None, None]
        );
        let again = [removed(binary(1, "x86_64", 10), 30), binary(2, "x86_64", 40)];
        let file = |until| pick(&again, Arch::X86_64, Timestamp(until)).map(|b| b.file.0);
        assert_eq!([20, 31, 41].map(file), [Some(1), Some(2), Some(2)]);
    }

    #[test]
    fn a_binary_for_another_processor_is_never_served() {
        let binaries = [binary(1, "any", 10), binary(2, "x86_64", 20)];
        let file = |arch| pick(&binaries, arch, Timestamp(99)).map(|b| b.file.0);
        assert_eq!((file(Arch::X86_64), file(Arch::Arm64)), (Some(2), Some(1)));
        assert_eq!(pick(&binaries[1..], Arch::Arm64, Timestamp(99)), None);
    }
}
