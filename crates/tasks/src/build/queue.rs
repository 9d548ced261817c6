//! The queue of builds: reruns, and the list of builds.

use super::builder::{self, get};
use super::poll::{self, new_build};
use super::{Builds, references};
use base::model::recorded_words::BuildState;
use content::serve::RepoError;
use store::db::audit;
use store::db::git_build::{self, GitBuild, NewBuild};
use store::db::git_builder::{self, GitBuilder, Trigger};

/// The revision to build again.
pub enum Revision {
    Tag(String),
    /// A commit, or the first digits of one.
    Commit(String),
    Newest,
}

pub struct NamedBuild {
    pub build: GitBuild,
    pub builder: String,
}

/// Queues a commit or tag again. With `replace`, the built package replaces a published one of the same version.
///
/// # Errors
/// [`RepoError::Conflict`] if the revision is in the queue, or was published and `replace` is false;
/// [`RepoError::NotFound`] for an unknown revision.
pub async fn rerun(
    builds: &Builds,
    source: &str,
    name: &str,
    revision: Revision,
    replace: bool,
    actor: &str,
) -> Result<GitBuild, RepoError> {
    let builder = get(builds, source, name).await?;
    let (tag, commit) = find(builds, &builder, revision).await?;
    let (id, actor, now) = (builder.id, actor.to_owned(), (builds.state.clock)());
    let write = builds.state.db.write_unless_refused(move |c| {
        let earlier = git_build::of_commit(c, id, &tag, &commit)?;
        if earlier.iter().any(|build| !build.state.is_final()) {
            let text = format!("{} is in the queue already", poll::short(&commit));
            return Err(RepoError::Conflict(text).into());
        }
        if !replace && let Some(published) = earlier.iter().find(|b| b.state == BuildState::Published) {
            return Err(RepoError::Conflict(format!(
                "{} was published as {}; with --replace it is built again and replaces that version, so that its checksum \
                 changes",
                poll::short(&commit),
                published.version
            ))
            .into());
        }
        let new = NewBuild { replaces: replace, ..new_build(&builder, &tag, &commit, &actor) };
        audit::record(c, "rerun git builder", "git builder", &builder.name, &commit)?;
        let build = git_build::insert(c, &new, now)?;
        Ok(git_build::get(c, build)?)
    });
    let build = write.await?;
    builds.wake.notify_one();
    build.ok_or_else(|| RepoError::NotFound("the build was deleted".to_owned()))
}

/// Returns the tag and the commit of a revision; the tag is empty for a commit of the branch.
async fn find(
    builds: &Builds,
    builder: &GitBuilder,
    revision: Revision,
) -> Result<(String, String), RepoError> {
    let id = builder.id;
    let known_builds = builds.state.db.read(move |c| git_build::of_builder(c, id)).await?;
    let not_found = |text: String| RepoError::NotFound(format!("{text}; rspm list git-builds shows all"));
    match revision {
        Revision::Newest => known_builds
            .into_iter()
            .next()
            .map(|build| (build.tag, build.commit))
            .ok_or_else(|| not_found(format!("'{}' has no build", builder.name))),
        Revision::Tag(_) if builder.trigger == Trigger::Commits => Err(RepoError::Invalid(format!(
            "'{}' builds commits, not tags: name the commit with --commit-sha, or create a builder with \
             --build-trigger=tags",
            builder.name
        ))),
        Revision::Tag(tag) => {
            // The tag may have been moved since.
            let references = references::list(builds, builder).await?;
            let reference = references.tags.into_iter().find(|(name, _)| *name == tag);
            reference.ok_or_else(|| {
                RepoError::NotFound(format!(
                    "the git repository of '{}' has no tag '{tag}'; push the tag first",
                    builder.name
                ))
            })
        }
        Revision::Commit(digits) => {
            let digits = digits.to_ascii_lowercase();
            let is_commit = digits.len() >= 7 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let build = known_builds.into_iter().find(|build| is_commit && build.commit.starts_with(&digits));
            match build {
                Some(build) => Ok((build.tag, build.commit)),
                None if is_commit && matches!(digits.len(), 40 | 64) => Ok((String::new(), digits)),
                None => Err(not_found(format!(
                    "no build has the commit '{}'; give all digits to build another commit",
                    digits.chars().take(64).collect::<String>()
                ))),
            }
        }
    }
}

/// Lists one page of builds, the newest first, with the names of their builders.
///
/// # Errors
/// [`RepoError::NotFound`] for an unknown source or builder.
pub async fn list(
    builds: &Builds,
    source: Option<&str>,
    name: Option<&str>,
    count: usize,
    page: usize,
) -> Result<Vec<NamedBuild>, RepoError> {
    let mut builders = builder::list(builds, source).await?;
    if let Some(name) = name {
        builders.retain(|info| info.builder.name == name);
        if builders.is_empty() {
            return Err(RepoError::NotFound(format!(
                "there is no builder '{name}'; rspm list git-builders shows all"
            )));
        }
    }
    let ids: Vec<i64> = builders.iter().map(|info| info.builder.id).collect();
    let offset = (page - 1).saturating_mul(count);
    let rows = builds.state.db.read(move |c| {
        let page = git_build::page(c, &ids, count, offset)?;
        page.into_iter()
            .map(|build| Ok(NamedBuild { builder: git_builder::name_of(c, build.builder)?, build }))
            .collect()
    });
    Ok(rows.await?)
}
