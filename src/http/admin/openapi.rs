//! The OpenAPI document of the admin API, made from the wire types; `docs/api/admin.json` is a copy.

use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr, Required,
    ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use crate::api::{
    ADMIN_PREFIX, binary, control, distribution, error, job, log, package, repo, source, upload,
};

/// One address: method, path, what it does, body and answer by the names of their schemas.
type Row = (HttpMethod, &'static str, &'static str, Option<&'static str>, Option<&'static str>);

const TABLE: &[Row] = &[
    (HttpMethod::Get, "/sources", "List sources; parameters repo and type narrow it", None, Some("[Source]")),
    (HttpMethod::Post, "/sources", "Create a source", Some("CreateSource"), Some("Source")),
    (HttpMethod::Get, "/sources/{name}", "Show a source", None, Some("Source")),
    (HttpMethod::Patch, "/sources/{name}", "Rename a source", Some("EditSource"), Some("Source")),
    (HttpMethod::Delete, "/sources/{name}", "Delete a source that no repository subscribes to", None, None),
    (
        HttpMethod::Get,
        "/sources/{name}/packages",
        "List its packages; parameters search, count, page",
        None,
        Some("Packages"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/packages",
        "Make uploads part of a local source, in one transaction",
        Some("AddPackages"),
        Some("AddedPackages"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/packages/remove",
        "Remove a package or some of its versions; older snapshots still serve them",
        Some("RemovePackage"),
        Some("RemovedPackage"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/binaries",
        "Make uploads builds of releases of a local source, in one transaction",
        Some("AddBinaries"),
        Some("AddedBinaries"),
    ),
    (
        HttpMethod::Get,
        "/sources/{name}/binaries",
        "List the builds of the package in the parameter package",
        None,
        Some("[Binary]"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/binaries/remove",
        "Remove the builds of one version for one platform; older snapshots still serve them",
        Some("RemoveBinary"),
        Some("RemovedBinary"),
    ),
    (HttpMethod::Get, "/repos", "List repositories; the parameter source narrows it", None, Some("[Repo]")),
    (HttpMethod::Post, "/repos", "Create a repository", Some("CreateRepo"), Some("Repo")),
    (HttpMethod::Get, "/repos/{name}", "Show a repository", None, Some("Repo")),
    (HttpMethod::Patch, "/repos/{name}", "Change a repository", Some("EditRepo"), Some("Repo")),
    (HttpMethod::Delete, "/repos/{name}", "Delete a repository", None, None),
    (
        HttpMethod::Get,
        "/repos/{name}/packages",
        "List its packages; parameters search, count, page",
        None,
        Some("Packages"),
    ),
    (HttpMethod::Post, "/repos/{name}/sources", "Subscribe to a source", Some("Subscribe"), Some("Repo")),
    (HttpMethod::Put, "/repos/{name}/sources", "Set the order of its sources", Some("Reorder"), Some("Repo")),
    (HttpMethod::Delete, "/repos/{name}/sources/{source}", "Unsubscribe from a source", None, Some("Repo")),
    (
        HttpMethod::Post,
        "/uploads",
        "Hand in a package archive as the body; the parameter file is its name, type is source or binary",
        Some("*"),
        Some("Upload"),
    ),
    (
        HttpMethod::Post,
        "/sync",
        "Start the sync of a built-in source, or attach to it",
        Some("StartSync"),
        Some("Job"),
    ),
    (HttpMethod::Get, "/status", "Mode and work of this server; answered in every mode", None, Some("Node")),
    (HttpMethod::Get, "/nodes", "The servers of the cluster; answered in every mode", None, Some("[Node]")),
    (
        HttpMethod::Post,
        "/online",
        "Read the whole configuration and serve; answered in every mode",
        None,
        Some("Node"),
    ),
    (
        HttpMethod::Post,
        "/offline",
        "Finish what is under way and stop serving; answers when that is done",
        Some("GoOffline"),
        Some("Node"),
    ),
    (
        HttpMethod::Post,
        "/reload",
        "Apply what changed in the configuration and is reloadable; answered in every mode",
        None,
        Some("Reload"),
    ),
    (
        HttpMethod::Put,
        "/log/level",
        "Set the level of the server log until the next start",
        Some("LogLevel"),
        Some("LogLevel"),
    ),
    (
        HttpMethod::Post,
        "/log/reopen",
        "Open the log files anew after a rotation; answers when nothing is written to the old ones any more",
        None,
        Some("Reopened"),
    ),
    (
        HttpMethod::Get,
        "/distributions",
        "Distributions that binaries can be served for",
        None,
        Some("[Distribution]"),
    ),
    (HttpMethod::Get, "/jobs", "Jobs under way", None, Some("[Job]")),
    (HttpMethod::Get, "/jobs/{id}", "One job, also for an hour after its end", None, Some("Job")),
];

/// The document: OpenAPI 3.1.
#[must_use]
pub fn document() -> OpenApi {
    let paths = TABLE.iter().fold(PathsBuilder::new(), |paths, (method, path, summary, body, answer)| {
        let mut operation = OperationBuilder::new().summary(Some(*summary));
        for name in path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')) {
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(String::schema())),
            );
        }
        if let Some(body) = body {
            operation = operation.request_body(Some(content(body, RequestBodyBuilder::new())));
        }
        let described = ResponseBuilder::new().description("Done");
        let done = match answer {
            Some(answer) => described
                .content("application/json", ContentBuilder::new().schema(Some(named(answer))).build()),
            None => described,
        };
        let refused = ResponseBuilder::new()
            .description("Refused or failed")
            .content("application/json", ContentBuilder::new().schema(Some(named("Error"))).build());
        let operation = operation.response("2XX", done.build()).response("default", refused.build());
        paths.path(format!("{ADMIN_PREFIX}{path}"), PathItem::new(method.clone(), operation.build()))
    });
    let info = InfoBuilder::new()
        .title("rstudio-pm admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Spoken over the unix socket <Server.SockFileDir>/rstudio-pm.sock; its group decides who may.",
        ))
        .build();
    OpenApiBuilder::new().info(info).paths(paths.build()).components(Some(components())).build()
}

fn content(body: &str, builder: RequestBodyBuilder) -> utoipa::openapi::request_body::RequestBody {
    let required = builder.required(Some(Required::True));
    match body {
        "*" => required.content("application/octet-stream", ContentBuilder::new().build()).build(),
        name => required
            .content("application/json", ContentBuilder::new().schema(Some(named(name))).build())
            .build(),
    }
}

/// A reference to a schema; `[Name]` is an array of it.
fn named(name: &str) -> RefOr<Schema> {
    match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(item) => {
            RefOr::T(Schema::Array(utoipa::openapi::schema::Array::new(Ref::from_schema_name(item))))
        }
        None => RefOr::Ref(Ref::from_schema_name(name)),
    }
}

fn components() -> utoipa::openapi::Components {
    fn add<T: ToSchema>(into: &mut Vec<(String, RefOr<Schema>)>) {
        into.push((T::name().into_owned(), T::schema()));
        T::schemas(into);
    }
    let mut schemas = Vec::new();
    add::<error::Error>(&mut schemas);
    add::<binary::AddBinaries>(&mut schemas);
    add::<binary::AddedBinaries>(&mut schemas);
    add::<binary::Binary>(&mut schemas);
    add::<binary::RemoveBinary>(&mut schemas);
    add::<binary::RemovedBinary>(&mut schemas);
    add::<control::Node>(&mut schemas);
    add::<control::GoOffline>(&mut schemas);
    add::<control::Reload>(&mut schemas);
    add::<control::LogLevel>(&mut schemas);
    add::<log::Reopened>(&mut schemas);
    add::<distribution::Distribution>(&mut schemas);
    add::<job::StartSync>(&mut schemas);
    add::<job::Job>(&mut schemas);
    add::<package::Packages>(&mut schemas);
    add::<repo::Repo>(&mut schemas);
    add::<repo::CreateRepo>(&mut schemas);
    add::<repo::EditRepo>(&mut schemas);
    add::<repo::Subscribe>(&mut schemas);
    add::<repo::Reorder>(&mut schemas);
    add::<source::Source>(&mut schemas);
    add::<source::CreateSource>(&mut schemas);
    add::<source::EditSource>(&mut schemas);
    add::<source::AddPackages>(&mut schemas);
    add::<source::AddedPackages>(&mut schemas);
    add::<source::RemovePackage>(&mut schemas);
    add::<source::RemovedPackage>(&mut schemas);
    add::<upload::Upload>(&mut schemas);
    schemas.into_iter().fold(ComponentsBuilder::new(), |c, (name, schema)| c.schema(name, schema)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_that_is_referred_to_is_there() {
        let text = serde_json::to_string(&document()).expect("a document");
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().expect("a name");
            assert!(text.contains(&format!("\"{name}\":{{")), "{name} is referred to and not there");
        }
    }
}
