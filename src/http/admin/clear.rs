//! `POST /clear`: removes all packages of CRAN from its newest state.

use http::StatusCode;

use super::call::Call;
use super::job::{Started, start_response};
use crate::http::error::Failure;
use api::error::Code;
use api::job::ClearSource;
use base::model::ids::SourceId;
use runtime::catalog::Repository;
use tasks::edit::subscription::unsubscribe_advice;

/// Starts the job, if the request confirms it and no repository subscribes to CRAN.
pub(super) async fn start(call: Call<'_>, body: ClearSource) -> Started {
    let Call { app, actor, .. } = call;
    if !body.kind.eq_ignore_ascii_case("cran") {
        let kind: String = body.kind.chars().take(40).collect();
        return Err(Failure::bad_request(format!(
            "sources of type '{kind}' cannot be cleared; only cran can"
        )));
    }
    let catalog = app.state.catalog.get();
    let subscribers: Vec<&Repository> =
        catalog.repos.iter().filter(|repo| repo.subscribes_to(SourceId::CRAN)).collect();
    let conflict = |text: String| Failure::new(StatusCode::CONFLICT, Code::Conflict, text);
    if let Some(first) = subscribers.first() {
        let names: Vec<&str> = subscribers.iter().map(|repo| repo.name.as_str()).collect();
        let advice = unsubscribe_advice(first.name.as_str(), first.changes, "cran");
        return Err(conflict(format!("repositories subscribe to cran: {}; {advice}", names.join(", "))));
    }
    if !body.confirm {
        return Err(conflict(
            "all packages of cran would be removed from its newest state, and the next sync would read the whole list of \
             the mirror again; earlier snapshots would still serve them. To clear it, repeat the command with --confirm"
                .to_owned(),
        ));
    }
    start_response(app, &app.sync.start_clear(&actor.0)).await
}
