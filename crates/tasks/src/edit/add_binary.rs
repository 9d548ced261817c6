//! Adds uploaded binaries to a local source, in one transaction.

use super::add::{insert_blobs, local_tree, require_language};
use super::uploads::Uploads;
use super::uploads::{BinaryTarget, StagedUpload};
use super::{Actor, AddStatus, OnExisting, Upload, Write, publish};
use base::config::platforms::Distribution;
use base::model::ids::{PackageId, ReleaseId, TreeId, TxId};
use base::model::language::Language;
use content::serve::binary_rows::target;
use content::serve::{RepoError, find};
use formats::r::platform::{Arch, Platform};
use runtime::catalog::Source;
use runtime::publish::edit::ClaimedTrees;
use store::db::binary::{self, NewBinary};
use store::db::tx::Publish;
use store::db::tx::TxKind;
use store::db::{self, Conn, DbError};

/// The result of adding one binary.
#[derive(Clone, Debug)]
pub struct AddedBinary {
    pub upload: Upload,
    /// The minor version of R it was built for.
    pub r_version: String,
    /// The architecture; `None` for any.
    pub arch: Option<Arch>,
    /// The status of the addition.
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
    let source = find::source(&catalog, source)?.clone();
    let source_tree = local_tree(&catalog, &source)?;
    require_language(&source, Language::R)?;
    let platforms = uploads.state.config.load().platforms.clone();
    let distribution = find::distribution(&platforms, distribution)?.clone();
    let mut binaries = Vec::with_capacity(ids.len());
    for upload in uploads.get(ids, &actor.0, now).await? {
        binaries.push(BinaryUpload::new(upload, &distribution)?);
    }
    let files: Vec<&str> = binaries.iter().map(|binary| binary.staged.upload.file.as_str()).collect();
    let subject = format!("{} for {}", files.join(", "), distribution.name);
    let publish = Publish { source: Some(source.id), subject, ..publish(TxKind::Add, now, actor) };
    let transaction = AddBinaryTransaction { source, source_tree, existing, publish };
    let (input, consumption) = (binaries.clone(), uploads.consumption(ids, &actor.0, now));
    let result = consumption.apply(&uploads.state, move |c| transaction.write(c, &input)).await;
    let (tx, outcomes) = result?;
    let results = binaries.into_iter().zip(outcomes).map(|(binary, outcome)| AddedBinary {
        r_version: binary.r_version,
        arch: binary.arch,
        upload: binary.staged.upload,
        outcome,
    });
    Ok((tx, results.collect()))
}

/// An uploaded binary and its place in the source.
#[derive(Clone, Debug)]
struct BinaryUpload {
    staged: StagedUpload,
    r_version: String,
    arch: Option<Arch>,
    /// The label of its tree.
    label: String,
    /// The value for `file.platform`.
    platform: String,
    name: String,
}

impl BinaryUpload {
    fn new(upload: StagedUpload, distribution: &Distribution) -> Result<BinaryUpload, RepoError> {
        let Upload { file, package, version, .. } = &upload.upload;
        let Some(BinaryTarget { r, system, arch }) = upload.binary_target else {
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
        Ok(BinaryUpload { label, platform, name, r_version: r.to_string(), arch, staged: upload })
    }
}

struct AddBinaryTransaction {
    source: Source,
    /// The tree with the source packages of the source.
    source_tree: TreeId,
    existing: OnExisting,
    publish: Publish,
}

type AddBinaryResult = (Option<TxId>, Vec<AddStatus>);

/// The planned change for one binary.
struct BinaryPlan {
    package: PackageId,
    release: ReleaseId,
    outcome: AddStatus,
}

impl AddBinaryTransaction {
    fn write(&self, c: &mut dyn Conn, binaries: &[BinaryUpload]) -> Write<AddBinaryResult> {
        let plans = self.plan(c, binaries)?;
        let outcomes: Vec<AddStatus> = plans.iter().map(|plan| plan.outcome).collect();
        let mut trees = ClaimedTrees::default();
        for (binary, plan) in
            binaries.iter().zip(&plans).filter(|(_, plan)| plan.outcome != AddStatus::Existing)
        {
            let tree = binary::get_or_create_tree(c, self.source.id, &binary.label)?;
            let pending_step = trees.claim(c, tree)?;
            insert_blobs(c, &binary.staged, self.publish.now)?;
            let upload = &binary.staged.upload;
            let new_binary = NewBinary {
                package: plan.package,
                release: plan.release,
                platform: &binary.platform,
                name: &binary.name,
                size: i64::try_from(upload.size).unwrap_or(i64::MAX),
                md5: binary.staged.md5,
                sha256: upload.sha256,
                stanza: &binary.staged.stanza,
            };
            binary::insert(c, tree, pending_step, &new_binary)?;
        }
        Ok((trees.publish(c, &self.publish)?, outcomes))
    }

    /// Plans the change for each binary.
    fn plan(&self, c: &mut dyn Conn, binaries: &[BinaryUpload]) -> Write<Vec<BinaryPlan>> {
        let trees = db::tree::of_source(c, self.source.id)?;
        let mut plans: Vec<BinaryPlan> = Vec::with_capacity(binaries.len());
        for (index, binary) in binaries.iter().enumerate() {
            let Upload { package: name, version, sha256, .. } = &binary.staged.upload;
            let Some((package, release)) = self.release(c, binary)? else {
                return Err(RepoError::Invalid(format!(
                    "the source '{0}' has no {name} {version}; add its source package first, for clients without \
                     a matching binary: rspm add --source={0}",
                    self.source.name
                ))
                .into());
            };
            let tree = trees.iter().find(|t| t.role == db::tree::Role::Binary && t.label == binary.label);
            let existing = match tree.and_then(|tree| Some((tree.id, tree.head?))) {
                Some((tree, head)) => binary::of_release(c, tree, head, package, release)?,
                None => Vec::new(),
            };
            let is_current = |existing: &&binary::Binary| {
                existing.platform == binary.platform && existing.removed_at.is_none()
            };
            let existing = existing.iter().rev().find(is_current);
            let duplicate_index = (0..index)
                .rev()
                .find(|i| plans[*i].release == release && binaries[*i].platform == binary.platform);
            let existing_sha256 = duplicate_index
                .map(|i| Some(binaries[i].staged.upload.sha256))
                .or(existing.map(|existing| existing.sha256));
            let outcome = match (existing_sha256, self.existing) {
                (None, _) => AddStatus::New,
                (Some(_), OnExisting::Succeed) => AddStatus::Existing,
                (Some(old), OnExisting::Replace) if old == Some(*sha256) => AddStatus::Existing,
                (Some(_), OnExisting::Replace) => AddStatus::Replaced,
                (Some(_), OnExisting::Fail) => {
                    return Err(RepoError::Conflict(format!(
                        "{name} {version} is in the source '{}' for {} already; use --replace to replace it with this \
                        file, or --succeed-on-existing to leave it",
                        self.source.name, binary.platform
                    ))
                    .into());
                }
            };
            plans.push(BinaryPlan { package, release, outcome });
        }
        Ok(plans)
    }

    /// Returns the release that a binary belongs to: the listed or archived release of its version in the source.
    fn release(
        &self,
        c: &mut dyn Conn,
        binary: &BinaryUpload,
    ) -> Result<Option<(PackageId, ReleaseId)>, DbError> {
        let Upload { package, version, .. } = &binary.staged.upload;
        let Some(head) = db::tree::get(c, self.source_tree)?.and_then(|tree| tree.head) else {
            return Ok(None);
        };
        let Some(id) = db::package::by_name(c, self.source.id, package)? else { return Ok(None) };
        let lives = db::life::current_of(c, self.source_tree, head, id)?;
        Ok(lives.iter().find(|life| life.version == *version).map(|life| (id, life.key.release)))
    }
}
