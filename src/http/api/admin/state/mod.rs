//! The configured objects of the server as one value: export, plan, commit.

mod contents;
mod effects;
mod objects;
mod plan;
mod request;

use std::sync::Arc;

use super::call::{Answer, Call};
use super::{audit, token};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use crate::http::route::access::{Access, AccessTarget, administer, change_blocklist, write_source};
use api::state::{
    ApplyState, Contents, ExportState, ExportedState, FORMAT, Section, Size, State, StateAction, StateChange,
    StatePlan, StateSource,
};
use api::token::{ListTokens, Scope};
use base::access::Action;
use base::model::digest::Sha256;
use base::model::text::shell_argument;
use content::serve::RepoError;
use objects::{Pattern, Rows};
use plan::Plan;
use request::Input;
use runtime::catalog::Catalog;
use store::db::{Conn, DbError, author};
use tasks::edit::state::commit;

/// Maximum number of objects in a section of a state that is a list, and in one whose objects have names.
const MAX_LIST: usize = 200_000;
const MAX_NAMED: usize = 50_000;
/// Maximum number of values in a section, for each object that it may have.
const MAX_VALUES: usize = 16;

/// Reads with the newest catalog, in one transaction.
async fn read<T, F>(app: &App, read: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: Fn(&mut dyn Conn, &Catalog) -> Result<T, DbError> + Send + 'static,
{
    let handle = app.state.catalog.clone();
    let query = app.state.db.read(move |c| {
        let catalog = handle.of_transaction(c)?;
        read(c, &catalog)
    });
    Ok(query.await?)
}

pub(super) async fn export(call: Call<'_>, query: ExportState) -> Answer<ExportedState> {
    let sections = match query.only.is_empty() {
        true => Section::ALL.to_vec(),
        false => query.only.iter().map(|word| word.parse()).collect::<Result<Vec<Section>, _>>()?,
    };
    let access = |section| match section {
        Section::BlockRules => server(Action::ReadBlocklist),
        Section::Metadata => server(Action::ManageMetadata),
        _ => administer(),
    };
    require_all(&call, sections.iter().map(|section| access(*section)))?;
    let names = Pattern(query.names.clone());
    let selected = sections.clone();
    let objects = read(call.app, move |c, catalog| {
        Ok(Rows::read(c, catalog, &selected)?.objects(catalog, &selected, &names))
    });
    let (objects, mut comments) = objects.await?;
    if query.names.is_some() {
        comments.clear();
    } else if query.only.is_empty() {
        let valid = ListTokens { expired: Some(false), revoked: Some(false) };
        for token in token::list(call, valid).await? {
            let expires = token.expires.map(|at| format!(", expires {at}")).unwrap_or_default();
            comments.push(format!(
                "token of '{}' ({}): {}{expires}",
                token.user,
                token.description,
                scope_flags(&token.scopes)
            ));
        }
    }
    let state = objects.into_state(&sections).map_err(|error| {
        tracing::error!("could not convert the objects of the server to a state: {error}");
        Failure::unavailable("the state could not be written; the log states the reason", 60)
    })?;
    Ok(ExportedState { version: env!("CARGO_PKG_VERSION").to_owned(), state, comments })
}

/// Returns the flags of `rspm create token` for these scopes.
fn scope_flags(scopes: &[Scope]) -> String {
    let mut flags = Vec::new();
    for Scope { scope, objects } in scopes {
        flags.push(format!("--scope={scope}"));
        if !objects.is_empty() {
            let flag = if scope.starts_with("sources:") { "sources" } else { "repos" };
            let flag = shell_argument(&format!("--{flag}={}", objects.join(",")));
            flags.extend(Some(flag).filter(|flag| !flags.contains(flag)));
        }
    }
    flags.join(" ")
}

/// Refuses a client that may change no section, before the body is read.
pub(super) async fn require_permitted(call: &Call<'_>, _: [&str; 0]) -> Result<(), Failure> {
    let all = || {
        [server(Action::Upload), change_blocklist(), server(Action::ManageMetadata), administer()].into_iter()
    };
    match all().any(|access| require_all(call, std::iter::once(access)).is_ok()) {
        true => Ok(()),
        false => permit(call, all()).await,
    }
}

pub(super) async fn apply(call: Call<'_>, mut body: ApplyState) -> Answer<StatePlan> {
    // SECURITY: a few bytes can be an object of many. The objects are read after the permissions and the sizes are checked.
    let text = std::mem::take(&mut body.state);
    let invalid =
        |error| Failure::bad_request(format!("the body is not valid JSON for this request: {error}"));
    let contents = text.contents().map_err(invalid)?;
    if contents.format != FORMAT {
        return Err(Failure::bad_request(format!(
            "the state has the format {}, and this server reads the format {FORMAT}",
            contents.format
        )));
    }
    let sections: Vec<Section> = contents.sections().map(|(section, _)| section).collect();
    let access = |section| match section {
        // SECURITY: the deletions name sources that are not in the request.
        Section::Sources if body.prune => server(Action::CreateSource),
        Section::Sources => server(Action::Upload),
        Section::BlockRules => change_blocklist(),
        Section::Metadata => server(Action::ManageMetadata),
        _ => administer(),
    };
    permit(&call, sections.iter().map(|section| access(*section))).await?;
    check_sizes(&contents, &body)?;
    let state = text.parse().map_err(invalid)?;
    drop(text);
    // SECURITY: as the permission of each change below, but before the plan has all new sources.
    let creates = creates_sources(&call.app.state.catalog.get(), &body, &state);
    permit(&call, creates.then(|| server(Action::CreateSource)).into_iter()).await?;
    let sha256 = Sha256::of(serde_json::to_vec(&state).unwrap_or_default()).to_string();
    let (actor, now) = (call.actor.clone(), (call.app.state.clock)());
    let input = Arc::new(Input { body, state, sections, sha256, actor, now });
    let reader = Arc::clone(&input);
    let mut plan = read(call.app, move |c, catalog| plan::plan(c, catalog, &reader)).await?;
    permit(&call, plan.wire.changes.iter().map(access_of_change)).await?;
    let is_committed = input.body.commit && plan.wire.problems.is_empty();
    if !is_committed || plan.objects.changes.is_empty() {
        effects::add(call.app, &mut plan).await;
        return Ok(StatePlan { committed: is_committed, ..plan.wire });
    }
    let Plan { wire, objects } = plan;
    let (comment, writer) = (input.body.comment.clone(), Arc::clone(&input));
    let committed = commit(&call.app.state, &objects, &comment, &call.actor, move |c, catalog| {
        let Plan { wire, objects } = plan::plan(c, catalog, &writer)?;
        match wire.problems.into_iter().find(|problem| problem.section.is_some()) {
            Some(problem) => Err(RepoError::Conflict(format!("{}: {}", problem.name, problem.error)).into()),
            None => Ok(objects),
        }
    });
    committed.await?;
    Ok(StatePlan { committed: true, ..wire })
}

const fn server(action: Action) -> Access<'static> {
    Access { action, target: AccessTarget::Server }
}

/// Refuses a state with too many objects, or with too many values in them.
fn check_sizes(contents: &Contents, body: &ApplyState) -> Result<(), Failure> {
    let refuse = |what: &str, noun: &str, count: usize, limit: usize| match count > limit {
        true => Err(Failure::bad_request(format!(
            "{what} has {count} {noun}, and at most {limit} are accepted: apply several smaller files, without prune"
        ))),
        false => Ok(()),
    };
    for (section, Size { objects, values }) in contents.sections() {
        let limit = match section {
            Section::BlockRules | Section::Metadata => MAX_LIST,
            Section::Sources
            | Section::Repositories
            | Section::GitCredentials
            | Section::GitBuilders
            | Section::NameGuards => MAX_NAMED,
        };
        let what = format!("the section {section}");
        refuse(&what, "objects", objects, limit)?;
        refuse(&what, "values", values, limit.saturating_mul(MAX_VALUES))?;
    }
    refuse("delete_packages_of", "sources", body.delete_packages_of.len(), MAX_NAMED)
}

/// Returns whether a state has a source that the catalog does not have, under its name or its previous one.
fn creates_sources(catalog: &Catalog, body: &ApplyState, state: &State) -> bool {
    let names = Pattern(body.names.clone());
    let has = |name: &str| catalog.source(name).is_some();
    let is_new = |(name, source): (&String, &StateSource)| {
        names.matches(name) && !has(name) && !source.renamed_from.as_deref().is_some_and(has)
    };
    state.sources.iter().flatten().any(is_new)
}

/// Returns the permission that a change requires.
fn access_of_change(change: &StateChange) -> Access<'_> {
    match (change.section, change.action) {
        (Section::BlockRules, _) => change_blocklist(),
        (Section::Metadata, _) => server(Action::ManageMetadata),
        (Section::Sources, StateAction::Create) => server(Action::CreateSource),
        (Section::Sources, _) => {
            let previous = change.fields.iter().find(|field| field.field == "name");
            write_source(previous.and_then(|field| field.from.as_str()).unwrap_or(&change.name))
        }
        _ => administer(),
    }
}

/// Requires several permissions. The error names all that the client lacks.
fn require_all<'a>(call: &Call<'_>, all: impl Iterator<Item = Access<'a>>) -> Result<(), Failure> {
    let catalog = call.app.state.catalog.get();
    let mut missing: Vec<Failure> = Vec::new();
    for failure in all.filter_map(|access| call.principal.require(&catalog, access).err()) {
        if missing.iter().all(|other| other.phrase != failure.phrase) {
            missing.push(failure);
        }
    }
    let phrases: Vec<&str> = missing.iter().map(|failure| failure.phrase.as_str()).collect();
    let phrase = phrases.join("; ");
    match missing.into_iter().next() {
        Some(first) => Err(Failure { phrase, ..first }),
        None => Ok(()),
    }
}

/// Like [`require_all`]; a refusal is in the audit trail like that of a route.
async fn permit<'a>(call: &Call<'_>, all: impl Iterator<Item = Access<'a>>) -> Result<(), Failure> {
    let Err(failure) = require_all(call, all) else { return Ok(()) };
    if let (Principal::Token(token), Some(author)) = (call.principal, author::of_task()) {
        audit::record_refusal(call.app, token, author.address.parse().ok(), "apply state", &failure).await;
    }
    Err(failure)
}
