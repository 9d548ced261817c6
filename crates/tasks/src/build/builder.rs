//! Creates, changes, deletes and lists builders.

use std::sync::Arc;

use super::credential::{self, encrypt, encryption_key};
use super::failure::BuildFailure;
use super::fetch::HostKeys;
use super::log::BuildLog;
use super::poll::{self, PollResult, TagRules};
use super::references::{self, References};
use super::{Builds, description, fetch, ssh, toolchain};
use base::config::HostKeyPolicy;
use base::model::ids::SourceId;
use base::model::kind::{Language, SourceKind, Supply};
use builder::url::{GitUrl, Scheme};
use content::serve::{RepoError, find};
use formats::language;
use store::db::git_build::{self, GitBuild};
use store::db::git_builder::{self, GitBuilder, Trigger};
use store::db::{self, DbError, WriteError, audit, git_credential};

pub struct NewBuilder {
    pub source: String,
    /// The name of the package; `None` to read it from the repository (R packages only).
    pub name: Option<String>,
    pub url: String,
    /// The branch; empty for the default branch.
    pub branch: String,
    /// What is built: the newest commit of the branch, or each tag.
    pub trigger: Trigger,
    /// Relative path of the package.
    pub sub_dir: String,
    /// Number of commits to fetch; 0 for all.
    pub clone_depth: u32,
    /// Levels of submodules to fetch.
    pub submodules: u32,
    pub vignettes: bool,
    /// Whether all existing tags are built, not only the highest ones.
    pub all_tags: bool,
    pub credential: Option<String>,
    /// Secret of webhooks, not encrypted.
    pub webhook_secret: Option<String>,
}

/// Changes of a builder; `None` leaves a value unchanged.
#[derive(Default)]
pub struct BuilderEdit {
    pub url: Option<String>,
    pub branch: Option<String>,
    /// Relative path of the package; empty for the root.
    pub sub_dir: Option<String>,
    /// Number of commits to fetch.
    pub clone_depth: Option<u32>,
    /// Levels of submodules to fetch.
    pub submodules: Option<u32>,
    pub vignettes: Option<bool>,
    /// Name of a credential; empty for none.
    pub credential: Option<String>,
    /// Secret of webhooks; empty for none.
    pub webhook_secret: Option<String>,
    /// Whether to accept the SSH host key that the host currently sends.
    pub accepts_host_key: bool,
}

/// A builder for display in lists: with its newest build, and with names instead of ids.
pub struct BuilderInfo {
    pub builder: GitBuilder,
    pub source: String,
    pub credential: Option<String>,
    pub newest: Option<GitBuild>,
}

/// Returns whether a URL names a repository on the server's machine.
pub fn is_local(url: &str) -> bool {
    GitUrl::parse(url).is_ok_and(|url| url.scheme == Scheme::File)
}

/// Returns the id and the name of a source whose packages are built from git.
pub(super) fn source(builds: &Builds, name: &str) -> Result<(SourceId, String), RepoError> {
    let catalog = builds.state.catalog.get();
    let source = find::source(&catalog, name)?;
    match source.kind.supply() {
        Supply::Builds => Ok((source.id, source.name.to_string())),
        _ => Err(RepoError::Invalid(format!(
            "the source '{}' is of type {}; builders need one of type {}: rspm create source --type=git",
            source.name,
            source.kind,
            SourceKind::phrase("or", |kind| kind.supply() == Supply::Builds)
        ))),
    }
}

/// Returns the builder of a package.
///
/// # Errors
/// [`RepoError::NotFound`] without a builder for the package; [`RepoError::Unknown`] for an unknown source.
pub async fn get(builds: &Builds, source_name: &str, name: &str) -> Result<GitBuilder, RepoError> {
    let (id, source_name) = source(builds, source_name)?;
    let package = name.to_owned();
    let builder = builds.state.db.read(move |c| git_builder::by_name(c, id, &package)).await?;
    builder.ok_or_else(|| {
        let name: String = name.chars().take(128).collect();
        RepoError::NotFound(format!(
            "the source '{source_name}' has no builder '{name}'; rspm list git-builders --source={source_name} shows all"
        ))
    })
}

/// Creates a builder: lists the references of its repository, reads the name of the package, and puts the first builds
/// in the queue. Returns the builder, the result of this poll, and the fingerprints of newly accepted SSH host keys.
///
/// # Errors
/// [`RepoError::Invalid`] with the reason, [`RepoError::Conflict`] if the source has a builder for the package.
pub async fn create(
    builds: &Builds,
    new: NewBuilder,
    actor: &str,
) -> Result<(GitBuilder, PollResult, Vec<String>), RepoError> {
    let (source, source_name) = source(builds, &new.source)?;
    let url = fetch::url(builds, &new.url)?;
    let language = builds.state.catalog.get().source_language(source);
    let has_description = toolchain::of(language).has_description;
    check_vignettes(language, new.vignettes)?;
    if new.all_tags && new.trigger != Trigger::Tags {
        return Err(RepoError::Invalid("--all-tags: only with --build-trigger=tags".to_owned()));
    }
    let credential = match &new.credential {
        Some(name) => Some(credential::find(builds, &url, name).await?),
        None => None,
    };
    if credential.is_none() && url.scheme == Scheme::Ssh {
        return Err(RepoError::Invalid(format!("--url: {}", credential::NO_KEY)));
    }
    let now = (builds.state.clock)();
    // With an empty secret, webhooks could be forged, so an empty text means no secret.
    let webhook_secret = match new.webhook_secret.as_deref().filter(|secret| !secret.is_empty()) {
        Some(secret) => {
            let key = encryption_key(builds)?;
            Some(encrypt(&key, secret)?)
        }
        None => None,
    };
    let name = match has_description {
        true => new.name.clone().unwrap_or_default(),
        false => required_name(language, new.name.as_deref())?,
    };
    let mut builder = GitBuilder {
        id: 0,
        source,
        name,
        url: new.url,
        branch: new.branch,
        trigger: new.trigger,
        sub_dir: directory(&new.sub_dir),
        clone_depth: new.clone_depth,
        submodules: new.submodules,
        vignettes: new.vignettes,
        credential,
        webhook_secret,
        created_at: now,
        polled_at: None,
        due_at: now,
        failures: 0,
        head: String::new(),
        error: String::new(),
    };
    fetch::check(builds, &builder)?;
    let policy = builds.state.config.load().git.host_keys;
    let host_keys = match policy {
        HostKeyPolicy::AcceptNew => HostKeys::New,
        HostKeyPolicy::Strict => HostKeys::Known,
    };
    let (references, accepted_keys) = list_and_accept_keys(builds, &builder, host_keys).await?;
    let name = match has_description {
        true => package_name(builds, &builder, &references).await?,
        false => builder.name.clone(),
    };
    if let Some(expected) = new.name.filter(|expected| has_description && *expected != name) {
        return Err(RepoError::Invalid(format!(
            "--name: the repository contains the package '{name}', not '{expected}'; omit the flag"
        )));
    }
    builder.name.clone_from(&name);
    builder.head = references.head.clone().unwrap_or_default();
    let (due_at, row, actor) = (poll::next_poll(builds, &builder), builder, actor.to_owned());
    let first = if new.all_tags { usize::MAX } else { builds.state.config.load().git.first_tags };
    let tag_rules = TagRules { first, has_description };
    let key = row.webhook_secret.as_ref().map(|_| encryption_key(builds)).transpose()?;
    let transaction = builds.state.db.write_unless_refused(move |c| {
        if let Some(key) = &key {
            db::encryption_key::check(c, key.key.fingerprint())?;
        }
        // The source and the credential may have been deleted while the repository was fetched.
        let has_source = db::source::get(c, row.source)?.is_some();
        let has_credential = match row.credential {
            Some(id) => git_credential::get(c, id)?.is_some(),
            None => true,
        };
        if !has_source || !has_credential {
            let object = if has_source { "credential" } else { "source" };
            let text = format!("the {object} was deleted while the repository was fetched");
            return Err(RepoError::Conflict(text).into());
        }
        let id = git_builder::insert(c, &row)?;
        audit::record(c, "create git builder", "git builder", &row.name, &row.url)?;
        let builder = GitBuilder { id, ..row.clone() };
        let result = poll::record(c, &builder, &references, tag_rules, &actor, now)?;
        git_builder::record_poll(c, id, &builder.head, now, due_at)?;
        Ok((builder, result))
    });
    let (builder, result) = transaction.await.map_err(|error| match error {
        WriteError::Db(DbError::Conflict(_)) => RepoError::Conflict(format!(
            "the source '{source_name}' has a builder for the package '{name}' already; change it with rspm edit \
             git-builder, or delete it"
        )),
        error => error.into(),
    })?;
    builds.wake.notify_one();
    Ok((builder, result, accepted_keys))
}

/// Returns the name of a package without DESCRIPTION, as it is stored.
fn required_name(language: Language, name: Option<&str>) -> Result<String, RepoError> {
    let rules = language::of(language);
    let a_package = rules.nouns().a_package;
    match name {
        Some(name) if rules.is_name(name, false) => Ok(rules.fold(name).into_owned()),
        Some(_) => Err(RepoError::Invalid(format!("--name: this is not the name of {a_package}"))),
        None => Err(RepoError::Invalid(format!(
            "--name is required for {a_package}: write the name in its metadata"
        ))),
    }
}

fn check_vignettes(language: Language, vignettes: bool) -> Result<(), RepoError> {
    if vignettes && !toolchain::of(language).has_vignettes {
        return Err(RepoError::Invalid("--vignettes: only R packages have vignettes".to_owned()));
    }
    Ok(())
}

/// Lists references, and records newly accepted host keys; returns the references and the fingerprints of the keys.
async fn list_and_accept_keys(
    builds: &Builds,
    builder: &GitBuilder,
    host_keys: HostKeys,
) -> Result<(References, Vec<String>), RepoError> {
    let listing = fetch::references(builds, builder, host_keys).await?;
    let (lines, fingerprints) = listing.host_keys;
    if let Some(id) = builder.credential.filter(|_| !lines.is_empty()) {
        let host = ssh::host_keys::host(&fetch::url(builds, &builder.url)?);
        let replaced_host = (host_keys == HostKeys::Replaced).then_some(host);
        credential::accept_host_keys(builds, id, lines, replaced_host).await?;
    }
    Ok((references::for_builder(builder, listing.references)?, fingerprints))
}

/// Returns the name of the package in the newest tag or commit, which is fetched.
async fn package_name(
    builds: &Builds,
    builder: &GitBuilder,
    references: &References,
) -> Result<String, BuildFailure> {
    let newest_tag = references.tags.last().filter(|_| builder.trigger == Trigger::Tags);
    let (reference, commit) = match (newest_tag, &references.head) {
        (Some((tag, commit)), _) => (format!("refs/tags/{tag}"), commit),
        (None, Some(commit)) => (fetch::branch_reference(builder), commit),
        (None, None) => {
            return Err(BuildFailure::Final("the repository has neither a tag nor a commit".to_owned()));
        }
    };
    let log = Arc::new(BuildLog::new());
    let tree = fetch::commit(builds, builder, reference, commit, &log, std::future::pending()).await;
    let mut tree = tree.map_err(|failure| failure.with_log(&log.last_lines(3)))?;
    let package = tokio::task::spawn_blocking(move || description::package(&mut tree)).await;
    package.map_err(|error| BuildFailure::Temporary(error.to_string()))?
}

/// Removes a leading `./`, and slashes at both ends, from the path of a subdirectory.
fn directory(text: &str) -> String {
    text.trim_start_matches("./").trim_matches('/').to_owned()
}

/// Changes a builder, and schedules a poll of it. Returns it, and the fingerprints of newly accepted SSH host keys.
///
/// # Errors
/// [`RepoError::Invalid`] with the reason; [`RepoError::NotFound`] if the source has no builder for the package.
pub async fn edit(
    builds: &Builds,
    source: &str,
    name: &str,
    edit: BuilderEdit,
) -> Result<(GitBuilder, Vec<String>), RepoError> {
    let mut builder = get(builds, source, name).await?;
    if let Some(text) = edit.url {
        let (old, new) = (fetch::url(builds, &builder.url), fetch::url(builds, &text)?);
        if old.is_ok_and(|old| old.scheme != new.scheme) {
            return Err(RepoError::Invalid(
                "--new-url: the scheme must stay the same; delete the builder and create another one"
                    .to_owned(),
            ));
        }
        builder.url = text;
    }
    let url = fetch::url(builds, &builder.url)?;
    match edit.credential.as_deref() {
        Some("") => builder.credential = None,
        Some(name) => builder.credential = Some(credential::find(builds, &url, name).await?),
        None => {}
    }
    if let Some(id) = builder.credential {
        let credential = builds.state.db.read(move |c| git_credential::get(c, id)).await?;
        credential.map_or(Ok(()), |credential| credential::check_host(&credential, &url))?;
    }
    if builder.credential.is_none() && url.scheme == Scheme::Ssh {
        return Err(RepoError::Invalid(credential::NO_KEY.to_owned()));
    }
    builder.branch = edit.branch.unwrap_or(builder.branch);
    builder.sub_dir = edit.sub_dir.map_or(builder.sub_dir, |path| directory(&path));
    builder.clone_depth = edit.clone_depth.unwrap_or(builder.clone_depth);
    builder.submodules = edit.submodules.unwrap_or(builder.submodules);
    builder.vignettes = edit.vignettes.unwrap_or(builder.vignettes);
    check_vignettes(builds.language(&builder), builder.vignettes)?;
    fetch::check(builds, &builder)?;
    let mut key = None;
    if let Some(secret) = edit.webhook_secret {
        builder.webhook_secret = None;
        if !secret.is_empty() {
            let new_key = encryption_key(builds)?;
            builder.webhook_secret = Some(encrypt(&new_key, &secret)?);
            key = Some(new_key);
        }
    }
    let mut accepted_keys = Vec::new();
    if edit.accepts_host_key {
        if url.scheme != Scheme::Ssh {
            return Err(RepoError::Invalid(
                "--accept-host-key: only servers of SSH have host keys".to_owned(),
            ));
        }
        accepted_keys = list_and_accept_keys(builds, &builder, HostKeys::Replaced).await?.1;
    }
    builder.due_at = (builds.state.clock)();
    let row = builder.clone();
    builds
        .state
        .db
        .write(move |c| {
            if let Some(key) = &key {
                db::encryption_key::check(c, key.key.fingerprint())?;
            }
            audit::record(c, "edit git builder", "git builder", &row.name, &row.url)?;
            git_builder::update(c, &row)
        })
        .await?;
    builds.wake.notify_one();
    Ok((builder, accepted_keys))
}

/// Deletes a builder. Its packages remain in the source, and the logs of its builds remain stored.
///
/// # Errors
/// [`RepoError::NotFound`] if the source has no builder for the package.
pub async fn delete(builds: &Builds, source: &str, name: &str) -> Result<(), RepoError> {
    let builder = get(builds, source, name).await?;
    let now = (builds.state.clock)();
    let deletion = builds.state.db.write(move |c| {
        audit::record(c, "delete git builder", "git builder", &builder.name, "")?;
        git_builder::delete(c, builder.id, now)
    });
    deletion.await?;
    Ok(())
}

/// Lists the builders of a source, or of all sources.
///
/// # Errors
/// [`RepoError::Unknown`] for an unknown source.
pub async fn list(builds: &Builds, source_name: Option<&str>) -> Result<Vec<BuilderInfo>, RepoError> {
    let source_id = source_name.map(|name| source(builds, name)).transpose()?.map(|(id, _)| id);
    let catalog = builds.state.catalog.get();
    let rows = builds.state.db.read(move |c| {
        let mut rows = Vec::new();
        for builder in git_builder::list(c)? {
            if source_id.is_none_or(|id| id == builder.source) {
                let newest = git_build::newest(c, builder.id)?;
                let credential = match builder.credential {
                    Some(id) => git_credential::get(c, id)?.map(|credential| credential.name),
                    None => None,
                };
                rows.push((builder, credential, newest));
            }
        }
        Ok(rows)
    });
    let rows = rows.await?.into_iter().filter_map(|(builder, credential, newest)| {
        // A builder of a deleted source is not listed.
        let source = catalog.source_by_id(builder.source)?.name.to_string();
        Some(BuilderInfo { builder, source, credential, newest })
    });
    Ok(rows.collect())
}
