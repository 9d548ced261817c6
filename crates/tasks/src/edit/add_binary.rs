//! Adds uploaded binaries to a local source, in one transaction.

use super::add::{AddResult, add_staged, add_status, file_names, insert_blobs};
use super::edited_source::{EditedSource, require_language};
use super::uploads::{BinaryTarget, StagedUpload, Uploads};
use super::{Actor, AddStatus, OnExisting, Upload, UploadKind, Write, publish};
use base::config::platforms::Distribution;
use base::model::ids::{PackageId, ReleaseId, TxId};
use content::serve::binary_rows::target;
use content::serve::{RepoError, find};
use formats::r::platform::{Arch, Platform};
use runtime::publish::edit::ClaimedTrees;
use store::db::binary::{self, NewBinary};
use store::db::tx::{Publish, TxKind};
use store::db::{self, Conn, DbError};

#[derive(Clone, Debug)]
pub struct AddedBinary {
    pub upload: Upload,
    /// The minor version of R it was built for.
    pub r_version: String,
    /// The architecture; `None` for any.
    pub arch: Option<Arch>,
    pub outcome: AddStatus,
}

/// Adds uploaded binaries of a source's releases for a distribution, in one transaction, visible when this returns.
/// The transaction is `None` when nothing changed.
///
/// # Errors
/// [`RepoError::Invalid`] for an unknown distribution, for a binary of another system or architecture than that of the
/// distribution, and for a version whose source package is not in the source; [`RepoError::Conflict`] when the binary
/// exists already and `existing` is [`OnExisting::Fail`]. Then nothing is added.
pub async fn add(
    uploads: &Uploads,
    source: &str,
    distribution: &str,
    ids: &[u64],
    existing: OnExisting,
    actor: &Actor,
) -> Result<(Option<TxId>, Vec<AddedBinary>), RepoError> {
    let now = (uploads.state.clock)();
    let catalog = uploads.state.catalog.get();
    let source = find::source(&catalog, source)?;
    let edited = EditedSource::new(&catalog, source)?;
    require_language(source, &[UploadKind::Binary.language()])?;
    let platforms = uploads.state.config.load().platforms.clone();
    let distribution = find::distribution(&platforms, distribution)?.clone();
    let staged = uploads.get(ids, &actor.0, now).await?;
    let places: Result<Vec<BinaryPlace>, RepoError> =
        staged.iter().map(|staged| BinaryPlace::new(staged, &distribution)).collect();
    let places = places?;
    let subject = format!("{} for {}", file_names(&staged), distribution.name);
    let publish = Publish { source: Some(edited.id), subject, ..publish(TxKind::Add, now, actor) };
    let addition = BinaryAddition { source: edited, places: places.clone(), existing, publish };
    let add = add_staged(uploads, staged, actor, now, move |c, staged| addition.write(c, staged));
    let (staged, (tx, outcomes)) = add.await?;
    let results = staged.into_iter().zip(outcomes).zip(places).map(|((staged, outcome), place)| {
        AddedBinary { upload: staged.upload, r_version: place.r_version, arch: place.arch, outcome }
    });
    Ok((tx, results.collect()))
}

/// The place of an uploaded binary in the source.
#[derive(Clone, Debug)]
struct BinaryPlace {
    r_version: String,
    arch: Option<Arch>,
    /// The label of its tree.
    label: String,
    /// The value for `file.platform`.
    platform: String,
    name: String,
}

impl BinaryPlace {
    fn new(staged: &StagedUpload, distribution: &Distribution) -> Result<BinaryPlace, RepoError> {
        let Upload { file, package, version, .. } = &staged.upload;
        let Some(BinaryTarget { r, system, arch }) = staged.binary_target else {
            return Err(RepoError::Invalid(format!("'{file}' is a source package; add it with rspm add")));
        };
        let name = &distribution.name;
        let target = target(distribution);
        if !system.runs_on(&target) {
            return Err(RepoError::Invalid(format!("'{file}' is built for {system}, and {name} is not")));
        }
        if let Some(arch) =
            arch.filter(|arch| !distribution.architectures.iter().any(|name| name == arch.as_str()))
        {
            return Err(RepoError::Invalid(format!(
                "'{file}' is built for {arch}, and {name} has {}; `Architecture = {arch}` in [Distribution \"{name}\"] \
                 of the configuration adds it",
                distribution.architectures.join(" and ")
            )));
        }
        let platform = Platform { r, target, arch: arch.unwrap_or(Arch::X86_64) };
        let name = format!("{package}_{version}.{}", platform.extension());
        let (label, platform) = (platform.label(), platform.database_form(arch));
        Ok(BinaryPlace { label, platform, name, r_version: r.to_string(), arch })
    }
}

struct BinaryAddition {
    source: EditedSource,
    places: Vec<BinaryPlace>,
    existing: OnExisting,
    publish: Publish,
}

struct BinaryPlan {
    package: PackageId,
    release: ReleaseId,
    outcome: AddStatus,
}

impl BinaryAddition {
    fn write(&self, c: &mut dyn Conn, staged: &[StagedUpload]) -> Write<AddResult> {
        let plans = self.plan(c, staged)?;
        let outcomes: Vec<AddStatus> = plans.iter().map(|plan| plan.outcome).collect();
        let mut trees = ClaimedTrees::default();
        for ((staged, place), plan) in staged.iter().zip(&self.places).zip(&plans) {
            if plan.outcome == AddStatus::Existing {
                continue;
            }
            let tree = binary::get_or_create_tree(c, self.source.id, &place.label)?;
            let pending_step = trees.claim(c, tree)?;
            insert_blobs(c, staged, self.publish.now)?;
            let upload = &staged.upload;
            let new_binary = NewBinary {
                package: plan.package,
                release: plan.release,
                platform: &place.platform,
                name: &place.name,
                size: i64::try_from(upload.size).unwrap_or(i64::MAX),
                md5: staged.md5,
                sha256: upload.sha256,
                stanza: &staged.stanza,
            };
            binary::insert(c, tree, pending_step, &new_binary)?;
        }
        Ok((trees.publish(c, &self.publish)?, outcomes))
    }

    fn plan(&self, c: &mut dyn Conn, staged: &[StagedUpload]) -> Write<Vec<BinaryPlan>> {
        let trees = db::tree::of_source(c, self.source.id)?;
        let mut plans: Vec<BinaryPlan> = Vec::with_capacity(staged.len());
        for (index, (upload, place)) in staged.iter().zip(&self.places).enumerate() {
            let Upload { package: name, version, sha256, .. } = &upload.upload;
            let Some((package, release)) = release_of(c, &self.source, name, version)? else {
                return Err(RepoError::Invalid(format!(
                    "the source '{0}' has no {name} {version}; add its source package first, for clients without \
                     a matching binary: rspm add --source={0}",
                    self.source.name
                ))
                .into());
            };
            let tree = trees.iter().find(|t| t.role == db::tree::Role::Binary && t.label == place.label);
            let existing = match tree.and_then(|tree| Some((tree.id, tree.head?))) {
                Some((tree, head)) => binary::of_release(c, tree, head, package, release)?,
                None => Vec::new(),
            };
            let is_current = |existing: &&binary::Binary| {
                existing.platform == place.platform && existing.removed_at.is_none()
            };
            let existing = existing.iter().rev().find(is_current);
            let duplicate_index = (0..index)
                .rev()
                .find(|i| plans[*i].release == release && self.places[*i].platform == place.platform);
            let existing_sha256 = duplicate_index
                .map(|i| Some(staged[i].upload.sha256))
                .or(existing.map(|existing| existing.sha256));
            let place =
                || format!("{name} {version} is in the source '{}' for {}", self.source.name, place.platform);
            let outcome = add_status(existing_sha256, *sha256, self.existing, place)?;
            plans.push(BinaryPlan { package, release, outcome });
        }
        Ok(plans)
    }
}

/// Returns the listed or archived release of a version in a source.
pub(super) fn release_of(
    c: &mut dyn Conn,
    source: &EditedSource,
    package: &str,
    version: &str,
) -> Result<Option<(PackageId, ReleaseId)>, DbError> {
    let Some(head) = db::tree::get(c, source.tree)?.and_then(|tree| tree.head) else { return Ok(None) };
    let Some(id) = db::package::by_name(c, source.id, package)? else { return Ok(None) };
    let lives = db::life::current_of(c, source.tree, head, id)?;
    Ok(lives.iter().find(|life| life.version == version).map(|life| (id, life.key.release)))
}
