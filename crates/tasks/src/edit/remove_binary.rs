//! Removes the binaries of one version for one platform from a local source; older snapshots still serve them.

use super::add_binary::release_of;
use super::edited_source::EditedSource;
use super::{Actor, Write, apply};
use base::config::platforms::Platforms;
use base::model::digest::Sha256;
use base::model::ids::FileId;
use content::serve::negotiate::runs_on;
use content::serve::{RepoError, find};
use formats::r::platform::{Arch, BinaryTarget, Platform};
use runtime::publish::edit::ClaimedTrees;
use runtime::state::State;
use store::db::binary::{self, Binary};
use store::db::tx::{Publish, TxKind};
use store::db::{self, Conn};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedBinary {
    /// Its architecture; `None` for every architecture.
    pub arch: Option<Arch>,
    pub sha256: Option<Sha256>,
}

/// Removes the binaries of one version for clients of a platform (`4.5-noble-arm64`). They get the source package
/// from then on; older snapshots still serve the binaries. Replaced binaries are removed as well, or they would be
/// served instead. Returns the platform and the removed binaries, newest first.
///
/// # Errors
/// [`RepoError::Invalid`] for an invalid platform, [`RepoError::NotFound`] when there is no such binary; the error
/// names the platforms with binaries of this version.
pub async fn remove(
    state: &State,
    source: &str,
    package: &str,
    version: &str,
    platform: &str,
    comment: &str,
    actor: &Actor,
) -> Result<(Platform, Vec<RemovedBinary>), RepoError> {
    let now = (state.clock)();
    let catalog = state.catalog.get();
    let source = EditedSource::new(&catalog, find::source(&catalog, source)?)?;
    let platform = parse_platform(&state.config.load().platforms, platform)?;
    let publish = Publish::new(TxKind::Remove, now, now, &actor.0);
    let subject = format!("{package} {version} for {platform}");
    let publish = Publish { source: Some(source.id), comment: comment.to_owned(), subject, ..publish };
    let transaction = RemoveBinaryTransaction {
        source,
        package: package.to_owned(),
        version: version.to_owned(),
        platform: platform.clone(),
        publish,
    };
    let binaries = apply(state, move |c| transaction.write(c)).await?;
    Ok((platform, binaries))
}

/// Parses a platform tag and resolves aliases of its distribution.
fn parse_platform(platforms: &Platforms, tag: &str) -> Result<Platform, RepoError> {
    let mut platform = Platform::parse(tag).ok_or_else(|| {
        let excerpt: String = tag.chars().take(80).collect();
        RepoError::Invalid(format!(
            "'{excerpt}' is not a platform; expected the form that rspm list binaries prints: 4.5-noble, 4.5-noble-arm64, 4.5-win, \
             4.5-macos-arm64"
        ))
    })?;
    if let BinaryTarget::Linux(name) = &mut platform.target {
        *name = find::distribution(platforms, name)?.name.clone();
    }
    Ok(platform)
}

struct RemoveBinaryTransaction {
    source: EditedSource,
    package: String,
    version: String,
    platform: Platform,
    publish: Publish,
}

impl RemoveBinaryTransaction {
    fn write(&self, c: &mut dyn Conn) -> Write<Vec<RemovedBinary>> {
        let found = release_of(c, &self.source, &self.package, &self.version)?;
        let (package, release) = found.ok_or_else(|| self.no_version())?;
        let trees = db::tree::of_source(c, self.source.id)?;
        let trees = trees.into_iter().filter(|tree| tree.role == db::tree::Role::Binary);
        let mut other_platforms: Vec<String> = Vec::new();
        for tree in trees {
            let Some(head) = tree.head else { continue };
            let mut binaries = binary::of_release(c, tree.id, head, package, release)?;
            binaries.retain(|binary| binary.removed_at.is_none());
            if tree.label != self.platform.label() {
                other_platforms.extend(binaries.iter().map(|binary| binary.platform.clone()));
                continue;
            }
            let (matches, others): (Vec<Binary>, Vec<Binary>) =
                binaries.into_iter().partition(|binary| runs_on(binary, self.platform.arch));
            other_platforms.extend(others.into_iter().map(|binary| binary.platform));
            if matches.is_empty() {
                continue;
            }
            let files: Vec<FileId> = matches.iter().map(|binary| binary.file).collect();
            let mut claimed_trees = ClaimedTrees::default();
            let pending_step = claimed_trees.claim(c, tree.id)?;
            binary::remove(c, tree.id, pending_step, package, release, &files)?;
            claimed_trees.publish(c, &self.publish)?;
            let matches = matches.iter().rev().map(|binary| RemovedBinary {
                arch: binary.platform.rsplit_once('/').and_then(|(_, arch)| Arch::of_spelling(arch)),
                sha256: binary.sha256,
            });
            return Ok(matches.collect());
        }
        Err(self.no_binary(other_platforms).into())
    }

    fn no_version(&self) -> RepoError {
        let excerpt = |text: &str| text.chars().take(128).collect::<String>();
        let (package, version) = (excerpt(&self.package), excerpt(&self.version));
        RepoError::NotFound(format!("the source '{}' has no {package} {version}", self.source.name))
    }

    fn no_binary(&self, mut platforms: Vec<String>) -> RepoError {
        platforms.sort();
        platforms.dedup();
        let alternatives = match platforms.as_slice() {
            [] => "it has no binaries of this version".to_owned(),
            platforms => format!("it has binaries for {}", platforms.join(", ")),
        };
        let RemoveBinaryTransaction { source, package, version, platform, .. } = self;
        RepoError::NotFound(format!(
            "the source '{}' has no binary of {package} {version} for {platform}; {alternatives}",
            source.name
        ))
    }
}
