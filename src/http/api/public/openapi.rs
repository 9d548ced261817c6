//! The OpenAPI document of the public API: `/__api__/swagger/doc.json`; `docs/api/public.json` is a copy.

use utoipa::openapi::{InfoBuilder, OpenApi, Server};

use super::{Answer, PublicCall, Raw};
use crate::http::api::openapi;
use api::operations;

/// Returns the OpenAPI 3.1 document of the public API.
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("rstudio-pm public API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The API for clients: repositories, packages, snapshots, system requirements."))
        .build();
    let mut schemas = Vec::new();
    let descriptions = operations::public::public(&mut schemas);
    openapi::document(info, "/__api__", descriptions, schemas)
}

/// Returns the document with the base URL of this server.
pub(super) async fn show(call: PublicCall<'_>) -> Answer<Raw> {
    let mut document = document();
    document.servers = Some(vec![Server::new(call.base())]);
    Ok(Raw::json(&document))
}
