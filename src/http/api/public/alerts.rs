//! `GET /alerts`: current problems that need an administrator.

use super::{Answer, PublicCall};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use crate::http::problems::{self, Audience, Problem};
use api::public::status::Alert;

pub(super) async fn list(call: PublicCall<'_>) -> Answer<Vec<Alert>> {
    current(call.app, call.head.principal).await
}

/// Returns all current problems that the client may know; empty if there are none.
///
/// SECURITY: open to all clients. Addresses, paths and reasons are disclosed only by the log, `rspm` and the page of health.
pub(in crate::http) async fn current(app: &App, principal: &Principal) -> Result<Vec<Alert>, Failure> {
    let catalog = app.state.catalog.get();
    let is_visible = |problem: &Problem| match problem.audience {
        Audience::Everyone => true,
        // SECURITY: not the names of repositories that the client may not read, or that are hidden from it.
        Audience::Repository(id) => catalog.repo_by_id(id).is_some_and(|repo| principal.may_list(repo)),
        Audience::Administrators => principal.is_administrator(),
    };
    let problems = problems::current(app, principal.is_administrator()).await?;
    Ok(problems.into_iter().filter(is_visible).map(alert).collect())
}

fn alert(problem: Problem) -> Alert {
    Alert {
        kind: problem.kind.to_owned(),
        name: problem.name,
        message: problem.public,
        since: problem.since.map(|at| at.to_string()),
    }
}
