//! `GET /status`: features of the server; `GET /verify-auth`.

use super::{Answer, PublicCall};
use crate::http::api::platforms;
use crate::http::repo::r::bioconductor;
use api::public::status::Status;
use base::model::ids::SourceId;
use base::model::kind::RepoKind;
use runtime::catalog::Repository;
use serde_json::{Value, json};

/// Returns the features as the client may see them.
pub(super) async fn show(call: PublicCall<'_>) -> Answer<Status> {
    let (app, catalog) = (call.app, &call.catalog);
    let config = app.state.config.load();
    let platforms = platforms::status(&config.platforms, catalog);
    let is_listed = |repo: &&Repository| call.head.principal.may_list_publicly(repo);
    let repos_require_auth = catalog.repos.iter().any(|repo| repo.authenticated);
    let sso_enabled = config.open_id_connect.is_some();
    let auth_enabled = repos_require_auth
        || sso_enabled
        || config.authentication.api_token_auth
        || config.authentication.require_auth_for_ui
        || !config.federations.is_empty();
    // The repository that clients may use as CRAN.
    let cran_repo = catalog
        .repos
        .iter()
        .filter(is_listed)
        .find(|repo| repo.kind.is_one_list() && repo.subscribes_to(SourceId::CRAN));
    Ok(Status {
        metrics_enabled: app.usage.is_enabled(),
        python_configured: catalog.repos.iter().filter(is_listed).any(|repo| repo.kind == RepoKind::Python),
        auth_available: auth_enabled,
        auth_enabled,
        repos_require_auth,
        sso_enabled,
        bioc_versions: bioconductor::rows(catalog),
        ..Status::new(cran_repo.map(|repo| repo.name.to_string()), platforms)
    })
}

/// A token that is not valid has been refused already.
pub(super) async fn verify_auth(_: PublicCall<'_>) -> Answer<Value> {
    Ok(json!({}))
}
