//! One attempt of a build: fetches, builds, publishes, and records the result.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::io::ReaderStream;

use super::dependencies::Dependencies;
use super::failure::BuildFailure;
use super::job::Request;
use super::log::BuildLog;
use super::{Builds, dependencies, description, detection, fetch, log, poll};
use crate::edit::add::{BuildOrigin, add_built};
use crate::edit::project::receive;
use crate::edit::{Actor, AddStatus, OnExisting, Upload, UploadKind, upload};
use base::model::ids::TxId;
use base::model::recorded_words::BuildState;
use base::model::text::shell_argument;
use base::model::time::Timestamp;
use builder::message::{BuildPythonPackage, BuildRPackage, Job};
use content::serve::RepoError;
use runtime::jobs::Reporter;
use runtime::publish::edit::apply_edit;
use store::db::git_build::{self, AttemptEnd, GitBuild};
use store::db::git_builder::{self, GitBuilder, Trigger};
use store::db::tx::{Publish, TxKind};
use store::db::{Conn, DbError, clock};

/// Interval between renewals of a claim: a third of its duration.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(10);
/// Time before the second attempt; it doubles with each further attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(20);

/// The error that rolls back a publish when another server has taken over the build.
#[derive(Debug, thiserror::Error)]
#[error("another server has taken over the build")]
struct ClaimLost;

struct Attempt<'a> {
    builds: &'a Arc<Builds>,
    build: GitBuild,
    builder: GitBuilder,
    /// The id of this server, which has the claim to the build.
    holder: String,
    log: Arc<BuildLog>,
    state: Mutex<BuildState>,
    /// Notified when the claim is lost.
    interrupted: Notify,
}

/// Runs one attempt of a claimed build; returns a message for users.
pub(super) async fn run(
    builds: &Arc<Builds>,
    build: GitBuild,
    reporter: &Reporter,
) -> Result<String, String> {
    let id = build.builder;
    let builder = builds.state.db.read(move |c| git_builder::get(c, id)).await;
    let builder = builder.map_err(|error| error.to_string())?;
    let catalog = builds.state.catalog.get();
    let holder = builds.state.node.to_string();
    let builder = builder.filter(|builder| catalog.source_by_id(builder.source).is_some());
    let Some(builder) = builder else {
        let attempt_end = AttemptEnd {
            state: BuildState::Skipped,
            tx: None,
            version: "",
            reason: "the builder was deleted",
            due_at: Timestamp(0),
        };
        let (id, now) = (build.id, (builds.state.clock)());
        let end = builds.state.db.write(move |c| git_build::end(c, id, &holder, &attempt_end, now));
        return end.await.map(|_| "skipped".to_owned()).map_err(|error| error.to_string());
    };
    let log = Arc::new(BuildLog::new());
    builds.running.lock().insert(build.id, Arc::clone(&log));
    let attempt = Attempt {
        builds,
        builder,
        holder,
        log,
        state: Mutex::new(BuildState::Fetching),
        interrupted: Notify::new(),
        build,
    };
    let result = tokio::select! {
        result = attempt.run(reporter) => result,
        // `renew` never returns: when the claim is lost, it interrupts the attempt, which then ends.
        never = attempt.renew() => match never {},
    };
    // The log is stored before it is removed from `running`, so that readers always find it in one of the two places.
    if result.is_ok()
        && let Err(error) = log::store(builds, attempt.build.id, &attempt.log).await
    {
        tracing::error!(build = attempt.build.id, %error, "could not store the log of a build");
    }
    builds.running.lock().remove(&attempt.build.id);
    builds.wake.notify_one();
    result
}

impl Attempt<'_> {
    /// Renews the claim in intervals; interrupts the attempt when the claim is lost.
    async fn renew(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(RENEWAL_INTERVAL).await;
            let (id, holder, state) = (self.build.id, self.holder.clone(), *self.state.lock());
            let now = (self.builds.state.clock)();
            let renewal = self.builds.state.db.write(move |c| git_build::renew(c, id, &holder, state, now));
            // An error does not interrupt the attempt: the claim is lost only when another server takes over the build.
            if let Ok(false) = renewal.await {
                self.interrupted.notify_one();
            }
        }
    }

    async fn run(&self, reporter: &Reporter) -> Result<String, String> {
        let (build, log) = (&self.build, &self.log);
        let tag_text = if build.tag.is_empty() { String::new() } else { format!("tag {}, ", build.tag) };
        log.line(&format!(
            "== {}: {tag_text}commit {}, attempt {}",
            self.builder.name, build.commit, build.attempt
        ));
        let result = self.build(reporter).await;
        let failure = match result {
            Ok(message) => {
                log.line(&format!("== {message}"));
                return Ok(message);
            }
            Err(failure) => failure,
        };
        let retries = self.builds.state.config.load().git.build_retries;
        let (reason, is_last) = match failure {
            BuildFailure::Interrupted => {
                let (id, holder) = (build.id, self.holder.clone());
                let write = self.builds.state.db.write(move |c| git_build::return_to_queue(c, id, &holder));
                return Err(write.await.map_or_else(
                    |error| error.to_string(),
                    |()| "interrupted; the build is in the queue again".to_owned(),
                ));
            }
            BuildFailure::Skipped(reason) => return self.record_skip(&reason).await,
            BuildFailure::Temporary(reason)
            | BuildFailure::NoSandbox(reason)
            | BuildFailure::RetryAfter(reason, _) => (reason, build.attempt >= retries),
            BuildFailure::Final(reason) => (reason, true),
        };
        log.line(&format!("{}{reason}", log::FAILED));
        self.record_failure(&reason, is_last).await
    }

    /// Records a build that does not take place.
    async fn record_skip(&self, reason: &str) -> Result<String, String> {
        self.log.line(&format!("== Skipped: {reason}"));
        tracing::info!(builder = self.builder.name, tag = self.build.tag, reason, "a tag was not built");
        let (id, holder, text) = (self.build.id, self.holder.clone(), reason.to_owned());
        let now = (self.builds.state.clock)();
        let write = self.builds.state.db.write(move |c| {
            let state = BuildState::Skipped;
            end(c, id, &holder, &AttemptEnd { state, tx: None, version: "", reason: &text, due_at: now }, now)
        });
        write.await.map_err(|error| error.to_string())?;
        Ok(format!("skipped: {reason}"))
    }

    /// Records a failed attempt. The last one publishes a transaction without changes, whose number identifies the log.
    async fn record_failure(&self, reason: &str, is_last: bool) -> Result<String, String> {
        let now = (self.builds.state.clock)();
        let (id, holder, reason) = (self.build.id, self.holder.clone(), reason.to_owned());
        let exponent = u32::try_from(self.build.attempt.clamp(1, 10) - 1).unwrap_or(0);
        let due_at = now + RETRY_PAUSE * (1 << exponent);
        let publish = Publish {
            source: Some(self.builder.source),
            comment: format!("{} was not built: {reason}", self.builder.name),
            ..Publish::new(TxKind::Add, now, now, &self.build.actor)
        };
        let text = reason.clone();
        let recorded = apply_edit(&self.builds.state, move |c| {
            let tx = if is_last { Some(clock::publish(c, &publish)?.tx) } else { None };
            let state = if is_last { BuildState::Failed } else { BuildState::Queued };
            end(c, id, &holder, &AttemptEnd { state, tx, version: "", reason: &text, due_at }, now)?;
            git_build::skip_superseded(c, id, now)
        });
        let is_superseded = recorded.await.map_err(|error| error.to_string())?;
        tracing::warn!(builder = self.builder.name, build = id, reason, "a build from git failed");
        if is_superseded {
            self.log.line("== The branch has a newer commit, which is built instead.");
        } else if !is_last {
            self.log.line("== Another attempt follows.");
        }
        Ok(format!("failed: {reason}"))
    }

    async fn build(&self, reporter: &Reporter) -> Result<String, BuildFailure> {
        let (build, builder, log) = (&self.build, &self.builder, &self.log);
        let reference = match build.tag.as_str() {
            "" => fetch::branch_reference(builder),
            tag => format!("refs/tags/{tag}"),
        };
        let interrupted = || async {
            tokio::select! {
                () = reporter.wait_halted() => {}
                () = self.interrupted.notified() => {}
            }
        };
        reporter.progress("git fetch", 0, None);
        let fetch = fetch::commit(self.builds, builder, reference, &build.commit, log, interrupted());
        let tree = fetch.await?;
        let has_description = self.builds.has_description(builder);
        let tree = match has_description && !build.tag.is_empty() {
            true => description::check(self.builds, builder, build, tree).await?,
            false => tree,
        };
        self.set_state(BuildState::Building).await?;
        let files = match has_description {
            true => self.build_r(tree, reporter, interrupted()).await?,
            false => self.build_python(tree, reporter, interrupted()).await?,
        };
        reporter.progress("publishing", 0, None);
        let version = files.first().map(|file| file.version.clone()).unwrap_or_default();
        // A builder for tags replaces an existing version only on request, even if a commit without a tag is built.
        let existing = if builder.trigger == Trigger::Commits || build.replaces {
            OnExisting::Replace
        } else {
            OnExisting::Fail
        };
        let tag_text = if build.tag.is_empty() { String::new() } else { format!("tag {}, ", build.tag) };
        let comment = format!("built from git: {tag_text}commit {}", build.commit);
        let remark = Arc::new(Mutex::new(String::new()));
        let finish = {
            let (id, holder, version) = (build.id, self.holder.clone(), version.clone());
            let (now, source, remark) = ((self.builds.state.clock)(), builder.source, Arc::clone(&remark));
            let actor = build.actor.clone();
            move |c: &mut dyn Conn, tx: Option<TxId>, status: AddStatus| {
                let unchanged = match status {
                    AddStatus::New => String::new(),
                    AddStatus::Replaced | AddStatus::Existing => format!("version unchanged ({version})"),
                };
                let tx = match tx {
                    Some(tx) => tx,
                    None => {
                        let publish = Publish::new(TxKind::Add, now, now, &actor);
                        clock::publish(c, &Publish { source: Some(source), ..publish })?.tx
                    }
                };
                remark.lock().clone_from(&unchanged);
                let state = BuildState::Published;
                let attempt_end =
                    AttemptEnd { state, tx: Some(tx), version: &version, reason: &unchanged, due_at: now };
                end(c, id, &holder, &attempt_end, now)
            }
        };
        let actor = Actor(build.actor.clone());
        let origin = BuildOrigin { actor: &actor, comment };
        let uploads = &self.builds.uploads;
        let add = add_built(uploads, builder.source, &builder.name, &files, existing, origin, finish);
        match add.await {
            Ok(_) => {}
            Err(RepoError::Conflict(_) | RepoError::FileExists(_)) => {
                let revision = match build.tag.as_str() {
                    "" => format!("--commit-sha={}", build.commit),
                    tag => format!("--tag={}", shell_argument(tag)),
                };
                let origin = match self.other_tag(&version).await? {
                    Some(tag) => format!(
                        "built from the same commit for the tag '{tag}'; nothing is published for this tag, unless it \
                         replaces the other build"
                    ),
                    None => "built from another commit; raise the version, or replace it".to_owned(),
                };
                // It may have been renamed during the build.
                let catalog = self.builds.state.catalog.get();
                let source = catalog.source_by_id(builder.source);
                let source =
                    source.map_or_else(|| builder.source.to_string(), |source| source.name.to_string());
                return Err(BuildFailure::Final(format!(
                    "{} {version} is in the source already, {origin}: rspm rerun git-builder --source={} --name={} {revision} \
                     --replace",
                    builder.name, source, builder.name
                )));
            }
            Err(error) => return Err(error.into()),
        }
        let remark = remark.lock().clone();
        let remark = if remark.is_empty() { remark } else { format!("; {remark}") };
        Ok(format!("Published {} {version} from {}{remark}", builder.name, poll::short(&build.commit)))
    }

    /// Returns another tag of the same commit for which this version was published, if there is one.
    async fn other_tag(&self, version: &str) -> Result<Option<String>, BuildFailure> {
        let builder = self.builder.id;
        let known_builds = self.builds.state.db.read(move |c| git_build::of_builder(c, builder));
        let known_builds = known_builds.await.map_err(RepoError::from)?;
        let published = known_builds.into_iter().find(|build| {
            let GitBuild { tag, commit, .. } = &self.build;
            build.state == BuildState::Published
                && build.version == version
                && build.commit == *commit
                && build.tag != *tag
        });
        Ok(published.map(|build| build.tag))
    }

    async fn build_r(
        &self,
        tree: File,
        reporter: &Reporter,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Vec<Upload>, BuildFailure> {
        tokio::pin!(interrupted);
        let config = self.builds.state.config.load_full();
        let (tree, dependencies) = if config.git.install_dependencies {
            reporter.progress("dependencies", 0, None);
            let collection = dependencies::collect(self.builds, &self.builder, tree);
            tokio::select! {
                collected = tokio::time::timeout(config.git.build_timeout, collection) => {
                    let message = || "the packages that the build needs could not be read within its time limit".to_owned();
                    collected.map_err(|_| BuildFailure::Temporary(message()))??
                }
                () = &mut interrupted => return Err(BuildFailure::Interrupted),
            }
        } else {
            (tree, Dependencies::default())
        };
        let Dependencies { packages, file: package_files, notes, is_incomplete } = dependencies;
        for note in &notes {
            self.log.line(&format!("== {note}"));
        }
        reporter.progress("R CMD build", 0, None);
        let text = |path: &PathBuf| path.to_str().map(str::to_owned);
        let job = Job::BuildRPackage(BuildRPackage {
            r: config.git.r.as_ref().and_then(text),
            library: config.git.r_library.as_ref().and_then(text),
            vignettes: self.builder.vignettes,
            dependencies: packages,
        });
        let request = Request {
            job,
            readable: config.git.r.iter().chain(&config.git.r_library).cloned().collect(),
            source: Some(tree),
            dependencies: package_files,
            credential: None,
            key: None,
            timeout: config.git.build_timeout,
            temp_dir: config.server.temp_dir.clone(),
        };
        let language = self.builds.language(&self.builder);
        let built = detection::run(self.builds, language, request, &self.log, interrupted).await;
        let (report, package) = built.map_err(|failure| {
            let failure = failure.with_notes(&notes);
            if is_incomplete { failure.into_temporary() } else { failure }
        })?;
        let file = report.file.unwrap_or_default();
        let body = ReaderStream::with_capacity(tokio::fs::File::from_std(package), 256 << 10).boxed();
        Ok(vec![upload::receive(&self.builds.uploads, &file, body, UploadKind::Source).await?])
    }

    async fn build_python(
        &self,
        tree: File,
        reporter: &Reporter,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Vec<Upload>, BuildFailure> {
        reporter.progress("python -m build", 0, None);
        let config = self.builds.state.config.load_full();
        let (tree, time) = super::python::commit_time(tree).await?;
        let job = Job::BuildPythonPackage(BuildPythonPackage {
            python: config.git.python.as_ref().and_then(|path| path.to_str()).map(str::to_owned),
            version: super::python::version_of_tag(&self.build.tag),
            time,
        });
        let request = Request {
            job,
            readable: config.git.python.iter().cloned().collect(),
            source: Some(tree),
            dependencies: None,
            credential: None,
            key: None,
            timeout: config.git.build_timeout,
            temp_dir: config.server.temp_dir.clone(),
        };
        let language = self.builds.language(&self.builder);
        let built = detection::run(self.builds, language, request, &self.log, interrupted).await;
        let (_, archive) = built.map_err(|failure| super::python::explain(failure, &self.log.text()))?;
        let files = super::python::files(archive, config.server.temp_dir.clone()).await?;
        let mut uploads = Vec::new();
        for (name, file) in files {
            let body = ReaderStream::with_capacity(tokio::fs::File::from_std(file), 256 << 10).boxed();
            uploads.push(receive::receive(&self.builds.uploads, language, &name, body).await?);
        }
        if uploads.iter().any(|file: &Upload| file.version != uploads[0].version) {
            let reason = "the source distribution and the wheel have different versions".to_owned();
            return Err(BuildFailure::Final(reason));
        }
        Ok(uploads)
    }

    async fn set_state(&self, state: BuildState) -> Result<(), BuildFailure> {
        *self.state.lock() = state;
        let (id, holder, now) = (self.build.id, self.holder.clone(), (self.builds.state.clock)());
        let renewal = self.builds.state.db.write(move |c| git_build::renew(c, id, &holder, state, now));
        match renewal.await.map_err(RepoError::from)? {
            true => Ok(()),
            false => Err(BuildFailure::Interrupted),
        }
    }
}

/// Records the end of the attempt; rolls back the whole transaction if another server has taken over the build.
fn end(
    c: &mut dyn Conn,
    id: i64,
    holder: &str,
    ended: &AttemptEnd<'_>,
    now: Timestamp,
) -> Result<(), DbError> {
    if git_build::end(c, id, holder, ended, now)? { Ok(()) } else { Err(DbError::refuse(ClaimLost)) }
}
