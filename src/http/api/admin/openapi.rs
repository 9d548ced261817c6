//! The OpenAPI document of the admin API; `docs/api/admin.json` is a copy.

use utoipa::openapi::{InfoBuilder, OpenApi};

use super::call::{Answer, Call, Raw};
use crate::http::api::openapi;
use api::{ADMIN_PREFIX, operations};

/// Returns the OpenAPI 3.1 document of the admin API.
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("rstudio-pm admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Served on the unix socket <Server.SockFileDir>/rstudio-pm.sock, which is accessible to its group, and on the \
             network to clients with a token.",
        ))
        .build();
    let mut schemas = Vec::new();
    let mut descriptions = operations::admin::control(&mut schemas);
    descriptions.extend(operations::admin::data(&mut schemas));
    openapi::document(info, ADMIN_PREFIX, descriptions, schemas)
}

pub(super) async fn show(_: Call<'_>) -> Answer<Raw> {
    Ok(Raw::json(&document()))
}
