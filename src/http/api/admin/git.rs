//! Builders of git repositories, builds, logs and credentials.

use http::StatusCode;
use zeroize::Zeroizing;

use super::audit;
use super::call::{Answer, Call, WithStatus};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use crate::http::route::access::{Access, AccessTarget, write_source};
use api::git;
use base::access::Action;
use store::db::git_builder::{GitBuilder, Trigger};
use store::db::git_credential::{CredentialKind, GitCredential};
use store::db::{author, git_build};
use tasks::build::builder::{self, BuilderEdit, BuilderInfo, NewBuilder};
use tasks::build::credential::{self, NewCredential};
use tasks::build::queue::{self, Revision};
use tasks::build::{log, poll};

const MAX_PAGE_SIZE: usize = 10_000;

fn wire_build(build: &git_build::GitBuild, builder: &str) -> git::GitBuild {
    git::GitBuild {
        id: build.id,
        builder: builder.to_owned(),
        tag: build.tag.clone(),
        commit: build.commit.clone(),
        state: build.state,
        ended: build.state.is_final(),
        attempt: build.attempt,
        transaction: build.tx.map(|tx| tx.0),
        version: build.version.clone(),
        reason: build.reason.clone(),
        actor: build.actor.clone(),
        started_at: build.started_at.map(|at| at.to_string()),
        ended_at: build.ended_at.map(|at| at.to_string()),
    }
}

fn wire(info: BuilderInfo) -> git::GitBuilder {
    let BuilderInfo { builder, source, credential, newest } = info;
    git::GitBuilder {
        id: builder.id,
        last_build: newest.map(|build| wire_build(&build, &builder.name)),
        name: builder.name,
        source,
        url: builder.url,
        branch: builder.branch,
        build_trigger: builder.trigger.as_str().to_owned(),
        sub_dir: builder.sub_dir,
        clone_depth: builder.clone_depth,
        recurse_submodules: builder.submodules,
        vignettes: builder.vignettes,
        credential,
        webhook: builder.webhook_secret.is_some(),
        polled: builder.polled_at.map(|at| at.to_string()),
        error: builder.error,
        accepted_host_keys: Vec::new(),
    }
}

async fn show(app: &App, source: &str, builder: &GitBuilder) -> Result<git::GitBuilder, Failure> {
    let infos = builder::list(&app.builds, Some(source)).await?;
    let info = infos.into_iter().find(|info| info.builder.id == builder.id);
    info.map(wire).ok_or_else(|| Failure::not_found("the builder was deleted"))
}

/// Requires the permission to change the source that the query names; without one, that of an administrator.
fn require_listed(call: &Call<'_>, source: Option<&str>) -> Result<(), Failure> {
    let access = match source {
        Some(source) => write_source(source),
        None => Access { action: Action::Administer, target: AccessTarget::Server },
    };
    call.principal.require(&call.app.state.catalog.get(), access).map(|_| ())
}

/// Requires an administrator's permission. A refusal contains `reason`, and is in the audit trail like that of a route.
async fn require_administrator(app: &App, principal: &Principal, reason: &str) -> Result<(), Failure> {
    let access = Access { action: Action::Administer, target: AccessTarget::Server };
    let Err(failure) = principal.require(&app.state.catalog.get(), access) else { return Ok(()) };
    let failure = Failure { phrase: format!("{}: {reason}", failure.phrase), ..failure };
    if let (Principal::Token(token), Some(author)) = (principal, author::of_task()) {
        let address = author.address.parse().ok();
        audit::record_refusal(app, token, address, "create or edit git builder", &failure).await;
    }
    Err(failure)
}

/// Returns the reason why a builder requires the permission of an administrator: its credential or its URL gives access
/// to more than the client may read. `None` if the builder requires no such permission.
fn reason_for_administrator(url: &str, has_credential: bool) -> Option<&'static str> {
    match (has_credential, builder::is_local(url)) {
        (true, _) => Some("only administrators may use credentials for git repositories"),
        (false, true) => Some("only administrators may use repositories on the server's machine"),
        (false, false) => None,
    }
}

pub(super) async fn builders(call: Call<'_>, query: git::ListGitBuilders) -> Answer<Vec<git::GitBuilder>> {
    let source = query.source.as_deref();
    require_listed(&call, source)?;
    let infos = builder::list(&call.app.builds, source).await?;
    Ok(infos.into_iter().map(wire).collect())
}

pub(super) async fn create(
    call: Call<'_>,
    source: &str,
    body: git::CreateGitBuilder,
) -> Answer<WithStatus<git::GitPoll>> {
    let Call { app, principal, actor, .. } = call;
    if let Some(reason) = reason_for_administrator(&body.url, body.credential.is_some()) {
        require_administrator(app, principal, reason).await?;
    }
    let trigger = Trigger::parse(&body.build_trigger)
        .ok_or_else(|| Failure::bad_request("--build-trigger: write commits or tags"))?;
    let new = NewBuilder {
        source: source.to_owned(),
        name: body.name,
        url: body.url,
        branch: body.branch,
        trigger,
        sub_dir: body.sub_dir,
        clone_depth: body.clone_depth,
        submodules: body.recurse_submodules,
        vignettes: body.vignettes,
        all_tags: body.all_tags,
        credential: body.credential,
        webhook_secret: body.webhook_secret,
    };
    let (builder, result, accepted_host_keys) = builder::create(&app.builds, new, &actor.0).await?;
    let builder = git::GitBuilder { accepted_host_keys, ..show(app, source, &builder).await? };
    let poll = git::GitPoll { builder, message: result.message, builds: result.queued };
    Ok(WithStatus(StatusCode::CREATED, poll))
}

pub(super) async fn edit(
    call: Call<'_>,
    source: &str,
    name: &str,
    body: git::EditGitBuilder,
) -> Answer<git::GitBuilder> {
    let Call { app, principal, .. } = call;
    let present = builder::get(&app.builds, source, name).await?;
    // SECURITY: a changed URL or directory of a builder with a credential may lead to another private repository, so
    // the change requires an administrator.
    let has_credential =
        present.credential.is_some() || body.credential.as_deref().is_some_and(|name| !name.is_empty());
    let urls = [Some(present.url.as_str()), body.url.as_deref()];
    if let Some(reason) =
        urls.into_iter().flatten().find_map(|url| reason_for_administrator(url, has_credential))
    {
        require_administrator(app, principal, reason).await?;
    }
    let edit = BuilderEdit {
        url: body.url,
        branch: body.branch,
        sub_dir: body.sub_dir,
        clone_depth: body.clone_depth,
        submodules: body.recurse_submodules,
        vignettes: body.vignettes,
        credential: body.credential,
        webhook_secret: body.webhook_secret,
        accepts_host_key: body.accept_host_key,
    };
    let (builder, accepted_host_keys) = builder::edit(&app.builds, source, name, edit).await?;
    Ok(git::GitBuilder { accepted_host_keys, ..show(app, source, &builder).await? })
}

pub(super) async fn delete(call: Call<'_>, source: &str, name: &str) -> Answer<serde_json::Value> {
    builder::delete(&call.app.builds, source, name).await?;
    Ok(serde_json::json!({ "deleted": name }))
}

pub(super) async fn poll(call: Call<'_>, source: &str, name: &str) -> Answer<git::GitPoll> {
    let app = call.app;
    let builder = builder::get(&app.builds, source, name).await?;
    let result = poll::poll(&app.builds, &builder, &call.actor.0).await?;
    audit::record_operation(app, "run git builder", "git builder", name.to_owned(), String::new()).await;
    let builder = show(app, source, &builder).await?;
    Ok(git::GitPoll { builder, message: result.message, builds: result.queued })
}

pub(super) async fn rerun(
    call: Call<'_>,
    source: &str,
    name: &str,
    body: git::RerunGitBuilder,
) -> Answer<git::GitBuild> {
    let Call { app, actor, .. } = call;
    let revision = match (body.tag, body.commit) {
        (Some(_), Some(_)) => return Err(Failure::bad_request("choose one of tag and commit")),
        (Some(tag), None) => Revision::Tag(tag),
        (None, Some(commit)) => Revision::Commit(commit),
        (None, None) => Revision::Newest,
    };
    let build = queue::rerun(&app.builds, source, name, revision, body.replace, &actor.0).await?;
    Ok(wire_build(&build, name))
}

pub(super) async fn builds(call: Call<'_>, query: git::ListGitBuilds) -> Answer<Vec<git::GitBuild>> {
    let (source, name) = (query.source.as_deref(), query.name.as_deref());
    require_listed(&call, source)?;
    let count = query.count.unwrap_or(100).clamp(1, MAX_PAGE_SIZE);
    let page = query.page.unwrap_or(1).max(1);
    let rows = queue::list(&call.app.builds, source, name, count, page).await?;
    Ok(rows.iter().map(|row| wire_build(&row.build, &row.builder)).collect())
}

fn number(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure::bad_request("the id of a build or a transaction must be a number"))
}

/// Returns a build by its number or its transaction. Only administrators and clients that may start builds of its
/// source may read it; others get the answer for an unknown build.
async fn visible_build(
    app: &App,
    principal: &Principal,
    id: Option<i64>,
    tx: Option<i64>,
) -> Result<git_build::GitBuild, Failure> {
    let build = log::find(&app.builds, id, tx).await?;
    let source = log::source(&app.builds, &build).await?;
    let catalog = app.state.catalog.get();
    let access = match source.and_then(|id| catalog.source_by_id(id)) {
        Some(source) => write_source(source.name.as_str()),
        None => Access { action: Action::Administer, target: AccessTarget::Server },
    };
    match principal.require(&catalog, access) {
        Ok(_) => Ok(build),
        Err(_) => Err(log::unknown(id, tx).into()),
    }
}

pub(super) async fn build(call: Call<'_>, id: &str) -> Answer<git::GitBuild> {
    let build = visible_build(call.app, call.principal, Some(number(id)?), None).await?;
    Ok(wire_build(&build, &log::builder_name(&call.app.builds, &build).await?))
}

pub(super) async fn build_of_transaction(call: Call<'_>, id: &str) -> Answer<git::GitBuild> {
    let build = visible_build(call.app, call.principal, None, Some(number(id)?)).await?;
    Ok(wire_build(&build, &log::builder_name(&call.app.builds, &build).await?))
}

pub(super) async fn build_log(
    call: Call<'_>,
    id: &str,
    query: git::ReadGitBuildLog,
) -> Answer<git::GitBuildLog> {
    let offset = query.offset.unwrap_or(0) as u64;
    let build = visible_build(call.app, call.principal, Some(number(id)?), None).await?;
    let page = log::page(&call.app.builds, &build, offset).await?;
    Ok(git::GitBuildLog { text: page.text, next: page.next, end: page.is_end })
}

fn wire_credential(credential: &GitCredential, builders: Vec<String>) -> git::GitCredential {
    git::GitCredential {
        kind: credential.kind.as_str().to_owned(),
        name: credential.name.clone(),
        username: credential.username.clone(),
        fingerprint: credential.fingerprint.clone(),
        host: credential.host.clone(),
        created: credential.created_at.to_string(),
        builders,
    }
}

fn kind(text: &str) -> Result<CredentialKind, Failure> {
    CredentialKind::parse(text)
        .ok_or_else(|| Failure::bad_request("the type of a credential must be ssh or https"))
}

pub(super) async fn credentials(call: Call<'_>) -> Answer<Vec<git::GitCredential>> {
    let rows = credential::list(&call.app.builds).await?;
    let rows = rows.into_iter().map(|(credential, builders)| wire_credential(&credential, builders));
    Ok(rows.collect())
}

pub(super) async fn import_credential(
    call: Call<'_>,
    body: git::ImportGitCredential,
) -> Answer<WithStatus<git::GitCredential>> {
    let app = call.app;
    let (kind, name, succeed) = (kind(&body.kind)?, body.name.clone(), body.succeed_on_existing);
    match kind {
        CredentialKind::Https if body.username.is_none() || body.password.is_none() => {
            return Err(Failure::bad_request("a credential needs username and password"));
        }
        CredentialKind::Ssh if body.private_key.is_none() => {
            return Err(Failure::bad_request("an SSH key needs private_key"));
        }
        CredentialKind::Https | CredentialKind::Ssh => {}
    }
    let (row, _) = credential::import(&app.builds, kind, &name, new_credential(body), false, succeed).await?;
    Ok(WithStatus(StatusCode::CREATED, wire_credential(&row, Vec::new())))
}

/// Refuses an unknown type of credentials, before the body is read.
pub(super) async fn require_kind(_: &Call<'_>, [type_word, _]: [&str; 2]) -> Result<(), Failure> {
    kind(type_word).map(drop)
}

pub(super) async fn edit_credential(
    call: Call<'_>,
    type_word: &str,
    name: &str,
    body: git::ImportGitCredential,
) -> Answer<git::GitCredential> {
    let app = call.app;
    let kind = kind(type_word)?;
    let (row, _) = credential::import(&app.builds, kind, name, new_credential(body), true, false).await?;
    Ok(wire_credential(&row, Vec::new()))
}

fn new_credential(body: git::ImportGitCredential) -> NewCredential {
    let passphrase = body.passphrase.map(Zeroizing::new);
    NewCredential {
        username: body.username,
        secret: body.password.map(Zeroizing::new),
        key: body.private_key.map(|key| (Zeroizing::new(key), passphrase)),
        known_hosts: body.known_hosts,
        host: body.host,
    }
}

pub(super) async fn delete_credential(
    call: Call<'_>,
    type_word: &str,
    name: &str,
) -> Answer<serde_json::Value> {
    credential::delete(&call.app.builds, kind(type_word)?, name).await?;
    Ok(serde_json::json!({ "deleted": name }))
}
