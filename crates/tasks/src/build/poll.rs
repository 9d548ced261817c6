//! Polls: a poll lists the references of a remote git repository and puts new commits and tags in the queue. Hosts may
//! request pauses, and polls caused by webhooks run one at a time for each host.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Builds;
use super::references::{self, References};
use base::model::recorded_words::BuildState;
use base::model::text::shell_argument;
use base::model::time::Timestamp;
use builder::url::GitUrl;
use content::serve::RepoError;
use formats::r::version;
use store::db::git_build::{self, GitBuild, NewBuild};
use store::db::git_builder::{self, GitBuilder, Trigger};
use store::db::{Conn, DbError};

/// Maximum pause after a failed poll; a longer poll interval replaces it.
const MAX_BACK_OFF: Duration = Duration::from_secs(3600);
/// Maximum number of requests of one poll; it is repeated if a concurrent poll recorded another commit.
const REQUESTS: usize = 3;
/// Number of digits of an abbreviated commit in messages.
const SHORT_LENGTH: usize = 7;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollResult {
    /// Ids of the builds that the poll put in the queue.
    pub queued: Vec<i64>,
    /// A message for users: the new commit or tags, or that there are none.
    pub message: String,
}

/// Polls the remote repository of a builder, and puts new commits and tags in the queue.
///
/// # Errors
/// The repository cannot be polled; the reason is also recorded, and the next poll is postponed.
pub async fn poll(builds: &Builds, builder: &GitBuilder, actor: &str) -> Result<PollResult, RepoError> {
    let mut builder = builder.clone();
    for _ in 0..REQUESTS {
        if let Some(result) = request(builds, &builder, actor).await? {
            return Ok(result);
        }
        let id = builder.id;
        let Some(current) = builds.state.db.read(move |c| git_builder::get(c, id)).await? else { break };
        builder = current;
    }
    let message = "Other polls of the builder found other commits at the same time.".to_owned();
    Ok(PollResult { message, ..PollResult::default() })
}

/// Returns the settings that must not change during a request: repository, branch, subdirectory and credential.
fn settings(builder: &GitBuilder) -> (&str, &str, &str, Option<i64>) {
    (&builder.url, &builder.branch, &builder.sub_dir, builder.credential)
}

/// Polls with one request. Returns `None` if a concurrent poll has recorded another commit: it is then unknown
/// which of the two commits is newer.
async fn request(
    builds: &Builds,
    builder: &GitBuilder,
    actor: &str,
) -> Result<Option<PollResult>, RepoError> {
    match references::list(builds, builder).await {
        Ok(references) => {
            tracing::debug!(
                builder = builder.name,
                head = references.head.as_deref(),
                "polled a git repository"
            );
            let (builder, actor) = (builder.clone(), actor.to_owned());
            let (now, due_at) = ((builds.state.clock)(), next_poll(builds, &builder));
            let tag_rules = TagRules {
                first: builds.state.config.load().git.first_tags,
                has_description: builds.has_description(&builder),
            };
            let write = builds.state.db.write(move |c| {
                // The builder may have been changed or deleted during the request; a changed builder is due again.
                let current = git_builder::get(c, builder.id)?;
                let Some(current) = current.filter(|current| settings(current) == settings(&builder)) else {
                    let message = "The builder was changed or deleted during the poll.".to_owned();
                    return Ok(Some(PollResult { message, ..PollResult::default() }));
                };
                let head = references.head.as_deref().unwrap_or_default();
                if current.head != builder.head && current.head != head {
                    return Ok(None);
                }
                let result = record(c, &current, &references, tag_rules, &actor, now)?;
                git_builder::record_poll(c, current.id, head, now, due_at)?;
                Ok(Some(result))
            });
            let result = write.await?;
            builds.wake.notify_one();
            Ok(result)
        }
        Err(failure) => {
            if let Some(pause) = failure.pause() {
                builds.hosts.pause(name(builder), pause, (builds.state.clock)());
            }
            let requested_pause = failure.pause().unwrap_or_default();
            let reason = failure.reason();
            let interval = interval(builds);
            let exponent = u32::try_from(builder.failures.clamp(0, 20)).unwrap_or(20);
            let pause =
                interval.saturating_mul(1 << exponent).min(MAX_BACK_OFF.max(interval)).max(requested_pause);
            let now = (builds.state.clock)();
            let due_at = now + pause;
            let (polled_builder, text) = (builder.clone(), reason.clone());
            let write = builds.state.db.write(move |c| {
                if !requested_pause.is_zero() {
                    postpone_host(c, &polled_builder, now + requested_pause)?;
                }
                // A builder that was changed during the request is due again, with its new settings.
                match git_builder::get(c, polled_builder.id)? {
                    Some(current) if settings(&current) == settings(&polled_builder) => {
                        git_builder::record_poll_failure(c, polled_builder.id, &text, due_at)
                    }
                    Some(_) | None => Ok(()),
                }
            });
            write.await?;
            tracing::warn!(builder = builder.name, reason, "could not poll a git repository");
            Err(RepoError::Invalid(format!("could not poll the repository of '{}': {reason}", builder.name)))
        }
    }
}

/// Postpones the polls of the other builders of a host that requested a pause.
fn postpone_host(c: &mut dyn Conn, builder: &GitBuilder, until: Timestamp) -> Result<(), DbError> {
    let host = name(builder);
    for other in git_builder::list(c)? {
        if other.id != builder.id && name(&other) == host {
            git_builder::postpone(c, other.id, until)?;
        }
    }
    Ok(())
}

fn interval(builds: &Builds) -> Duration {
    builds.state.config.load().git.poll_interval
}

/// Returns the time of the next poll. The first interval of a builder is extended by a part that depends on the
/// builder's id, so that the polls of many builders do not coincide.
pub(super) fn next_poll(builds: &Builds, builder: &GitBuilder) -> Timestamp {
    let interval = interval(builds);
    let share = u32::try_from(builder.id.wrapping_mul(0x9e37_79b1).rem_euclid(1000)).unwrap_or(0);
    let spread = if builder.polled_at.is_none() { interval / 1000 * share } else { Duration::ZERO };
    (builds.state.clock)() + interval + spread
}

/// Which tags a poll puts in the queue.
#[derive(Clone, Copy)]
pub(super) struct TagRules {
    /// Maximum number of existing tags that a new builder builds.
    pub(super) first: usize,
    /// Whether the version of the package is in its DESCRIPTION.
    pub(super) has_description: bool,
}

impl TagRules {
    /// Returns whether a tag may name the version of the builder's package. Without DESCRIPTION, the version may come from
    /// the tag, in any form that the build understands.
    fn may_name_version(self, builder: &GitBuilder, tag: &str) -> bool {
        !self.has_description || version::tag_version(tag, &tag_words(builder)).is_some()
    }
}

/// Returns the words that may precede the version in a tag of a builder: the names of its package and directories.
pub(super) fn tag_words(builder: &GitBuilder) -> Vec<&str> {
    std::iter::once(builder.name.as_str()).chain(builder.sub_dir.split('/')).collect()
}

/// Returns the reason why a tag is not built; `relation` is its relation to the version in DESCRIPTION.
pub(super) fn not_built(tag: &str, relation: &str) -> String {
    format!("{relation}; to build it anyway: rspm rerun git-builder --tag={}", shell_argument(tag))
}

/// Puts the commits or tags in the queue that no earlier poll found.
pub(super) fn record(
    c: &mut dyn Conn,
    builder: &GitBuilder,
    references: &References,
    tag_rules: TagRules,
    actor: &str,
    now: Timestamp,
) -> Result<PollResult, DbError> {
    match builder.trigger {
        Trigger::Commits => {
            let commit = references.head.as_deref().unwrap_or_default();
            let earlier = git_build::of_commit(c, builder.id, "", commit)?;
            // A commit that was skipped in favor of a newer one may become the newest again.
            if let Some(build) = earlier.iter().find(|build| build.state != BuildState::Skipped) {
                let mut message = no_news_message(builder, build);
                let published = git_build::newest_published(c, builder.id)?;
                if let Some(later) = published
                    .filter(|later| build.state == BuildState::Published && later.commit != build.commit)
                {
                    message += &format!(
                        " The branch was moved back: the source has version {} of commit {}; to publish this commit again: \
                         rspm rerun git-builder --commit-sha={} --replace",
                        later.version,
                        short(&later.commit),
                        short(&build.commit)
                    );
                }
                return Ok(PollResult { queued: Vec::new(), message });
            }
            git_build::supersede(c, builder.id, &builder.head, now)?;
            let id = git_build::insert(c, &new_build(builder, "", commit, actor), now)?;
            Ok(PollResult { queued: vec![id], message: format!("New commit {}", short(commit)) })
        }
        Trigger::Tags => record_tags(c, builder, references, tag_rules, actor, now),
    }
}

fn record_tags(
    c: &mut dyn Conn,
    builder: &GitBuilder,
    references: &References,
    tag_rules: TagRules,
    actor: &str,
    now: Timestamp,
) -> Result<PollResult, DbError> {
    let known_builds = git_build::of_builder(c, builder.id)?;
    let is_first = builder.polled_at.is_none() && known_builds.is_empty();
    let (releases, others): (Vec<_>, Vec<_>) =
        references.tags.iter().partition(|(tag, _)| tag_rules.may_name_version(builder, tag));
    let skipped_count = if is_first { releases.len().saturating_sub(tag_rules.first) } else { 0 };
    let mut by_tag: HashMap<&str, Vec<&GitBuild>> = HashMap::new();
    for build in &known_builds {
        by_tag.entry(build.tag.as_str()).or_default().push(build);
    }
    let (mut queued_ids, mut names, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    // Such tags, like `latest`, may be moved often; each is recorded once.
    for (tag, commit) in others.into_iter().filter(|(tag, _)| !by_tag.contains_key(tag.as_str())) {
        let reason = not_built(tag, "the tag does not name a version");
        let skipped = NewBuild {
            state: BuildState::Skipped,
            reason: &reason,
            ..new_build(builder, tag, commit, actor)
        };
        git_build::insert(c, &skipped, now)?;
    }
    for (index, (tag, commit)) in releases.into_iter().enumerate() {
        let of_tag = by_tag.get(tag.as_str()).map(Vec::as_slice).unwrap_or_default();
        if of_tag.iter().any(|build| build.commit == *commit) {
            continue;
        }
        let new = new_build(builder, tag, commit, actor);
        if let Some(earlier) = of_tag.first() {
            let reason = format!(
                "the tag was moved: it named {}; to build it now: rspm rerun git-builder --tag={} --replace",
                short(&earlier.commit),
                shell_argument(tag)
            );
            tracing::warn!(builder = builder.name, tag, commit, "a tag was moved; it is not built again");
            git_build::insert(c, &NewBuild { state: BuildState::Moved, reason: &reason, ..new }, now)?;
            moved.push(tag.as_str());
        } else if index < skipped_count {
            let reason = "not one of the highest tags, which are the only existing tags that a new builder builds (Git.FirstTags)";
            git_build::insert(c, &NewBuild { state: BuildState::Skipped, reason, ..new }, now)?;
        } else {
            queued_ids.push(git_build::insert(c, &new, now)?);
            names.push(tag.as_str());
        }
    }
    let message = match names.as_slice() {
        [] if !moved.is_empty() => format!("Moved tags, which are not built again: {}", moved.join(", ")),
        [] => format!("Nothing new: {} tags, all known.", references.tags.len()),
        [tag] => format!("New tag {tag}"),
        tags => format!("New tags {}", tags.join(", ")),
    };
    Ok(PollResult { queued: queued_ids, message })
}

/// Returns the row of a build for the queue.
pub(super) fn new_build<'a>(
    builder: &GitBuilder,
    tag: &'a str,
    commit: &'a str,
    actor: &'a str,
) -> NewBuild<'a> {
    NewBuild {
        builder: builder.id,
        tag,
        commit,
        state: BuildState::Queued,
        reason: "",
        replaces: false,
        actor,
    }
}

/// Returns the message for a poll that found no new commit; `build` is that of the newest commit.
fn no_news_message(builder: &GitBuilder, build: &GitBuild) -> String {
    let branch = if builder.branch.is_empty() { "the default branch" } else { builder.branch.as_str() };
    let state = match (build.state, build.ended_at) {
        (BuildState::Published, Some(at)) => format!("built {} as {}", at.day(), build.version),
        (BuildState::Failed, Some(at)) => format!("failed {}; rspm rerun git-builder tries again", at.day()),
        (state, _) => state.as_str().to_owned(),
    };
    format!("Nothing new: {branch} is at {}, {state}.", short(&build.commit))
}

/// Returns the first digits of a commit.
pub fn short(commit: &str) -> &str {
    commit.get(..SHORT_LENGTH).unwrap_or(commit)
}

#[derive(Default)]
pub(super) struct Hosts {
    /// The time at which the pause of each host ends.
    pauses: Mutex<HashMap<String, Timestamp>>,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Returns the host of a builder's repository, or the path of a local one.
pub(super) fn name(builder: &GitBuilder) -> String {
    GitUrl::parse(&builder.url).map_or_else(
        |_| builder.url.clone(),
        |url| match url.host.as_str() {
            "" => url.path,
            host => host.to_owned(),
        },
    )
}

impl Hosts {
    pub(super) fn pause(&self, host: String, pause: Duration, now: Timestamp) {
        let mut pauses = self.pauses.lock();
        pauses.retain(|_, until| *until > now);
        pauses.insert(host, now + pause);
    }

    /// Returns the remaining pause of a host; zero if it has none.
    pub(super) fn remaining_pause(&self, host: &str, now: Timestamp) -> Duration {
        let until = self.pauses.lock().get(host).copied().unwrap_or(now);
        until.since(now)
    }

    /// Returns the lock that a poll caused by a webhook holds while it sends requests to the host.
    pub(super) fn host_lock(&self, host: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock();
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(host.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_applies_to_its_host_until_its_end() {
        let hosts = Hosts::default();
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        hosts.pause("a.example".to_owned(), Duration::from_secs(60), at(100));
        assert_eq!(hosts.remaining_pause("a.example", at(130)), Duration::from_secs(30));
        assert_eq!(hosts.remaining_pause("a.example", at(160)), Duration::ZERO);
        assert_eq!(hosts.remaining_pause("a.example", at(200)), Duration::ZERO);
        assert_eq!(hosts.remaining_pause("b.example", at(130)), Duration::ZERO);
        hosts.pause("b.example".to_owned(), Duration::from_secs(1), at(200));
        assert_eq!(hosts.pauses.lock().len(), 1, "ended pauses are removed");
    }

    #[test]
    fn one_webhook_polls_a_host_and_others_poll_other_hosts() {
        let hosts = Hosts::default();
        let first = hosts.host_lock("a.example");
        let held = first.try_lock().unwrap();
        assert!(hosts.host_lock("a.example").try_lock().is_err());
        assert!(hosts.host_lock("b.example").try_lock().is_ok());
        drop(held);
        assert!(hosts.host_lock("a.example").try_lock().is_ok());
        drop(first);
        hosts.host_lock("c.example");
        assert_eq!(hosts.locks.lock().len(), 1, "unused locks are removed");
    }
}
