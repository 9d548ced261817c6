//! Builds OpenAPI documents from tables of addresses and wire types, for both APIs.

use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathsBuilder};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::{
    Components, ComponentsBuilder, ContentBuilder, Info, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr,
    Required, ResponseBuilder, Schema,
};

pub(super) const JSON: &str = "application/json";

/// One operation of an API: a method at a path.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) method: HttpMethod,
    /// The path without the prefix; `{name}` is a parameter.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// Query parameters with their descriptions.
    pub(super) query: &'static [(&'static str, &'static str)],
    /// Media type and the schema's name, which is empty for types other than JSON; `None` if a request has no body.
    pub(super) body: Option<(&'static str, &'static str)>,
    /// Media type and the schema's name; `[Name]` is an array of it, and an empty name means any content.
    pub(super) response: Option<(&'static str, &'static str)>,
}

/// Builds an OpenAPI 3.1 document.
pub(super) fn document(
    info: Info,
    prefix: &str,
    rows: impl Iterator<Item = Row>,
    components: Components,
) -> OpenApi {
    let paths = rows.fold(PathsBuilder::new(), |paths, row| {
        let mut operation = OperationBuilder::new().summary(Some(row.summary));
        for name in row.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')) {
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(String::schema())),
            );
        }
        for (name, description) in row.query {
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(*name)
                    .parameter_in(ParameterIn::Query)
                    .required(Required::False)
                    .description(Some(*description))
                    .schema(Some(String::schema())),
            );
        }
        if let Some((media, schema)) = row.body {
            operation = operation.request_body(Some(body(media, schema)));
        }
        let response = ResponseBuilder::new().description("Done");
        let success = match row.response {
            Some((media, "")) => response.content(media, ContentBuilder::new().build()),
            Some((media, schema)) => {
                response.content(media, ContentBuilder::new().schema(Some(schema_ref(schema))).build())
            }
            None => response,
        };
        let error = ResponseBuilder::new()
            .description("Refused or failed")
            .content(JSON, ContentBuilder::new().schema(Some(schema_ref("Error"))).build());
        let operation = operation.response("2XX", success.build()).response("default", error.build());
        paths.path(format!("{prefix}{}", row.path), PathItem::new(row.method, operation.build()))
    });
    OpenApiBuilder::new().info(info).paths(paths.build()).components(Some(components)).build()
}

fn body(media: &str, schema: &str) -> RequestBody {
    let content = ContentBuilder::new();
    let content = if schema.is_empty() { content } else { content.schema(Some(schema_ref(schema))) };
    RequestBodyBuilder::new().required(Some(Required::True)).content(media, content.build()).build()
}

/// Returns a reference to a schema; `[Name]` is an array of it.
fn schema_ref(name: &str) -> RefOr<Schema> {
    match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(item) => {
            RefOr::T(Schema::Array(utoipa::openapi::schema::Array::new(Ref::from_schema_name(item))))
        }
        None => RefOr::Ref(Ref::from_schema_name(name)),
    }
}

/// Collects schemas.
#[derive(Default)]
pub(super) struct Schemas(Vec<(String, RefOr<Schema>)>);

impl Schemas {
    /// Adds a type and the types of its fields.
    pub(super) fn with<T: ToSchema>(mut self) -> Schemas {
        self.0.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.0);
        self
    }

    /// Builds the components section with all schemas.
    pub(super) fn build(self) -> Components {
        self.0.into_iter().fold(ComponentsBuilder::new(), |c, (name, schema)| c.schema(name, schema)).build()
    }
}

/// Returns the names of the schemas that a document refers to but does not define.
#[cfg(test)]
pub(super) fn undefined_schemas(document: &OpenApi) -> Vec<String> {
    let text = serde_json::to_string(document).expect("a document");
    let names = text.split("#/components/schemas/").skip(1).filter_map(|part| part.split('"').next());
    names.filter(|name| !text.contains(&format!("\"{name}\":{{"))).map(str::to_owned).collect()
}

/// Returns method and path of an operation, as in the route table.
#[cfg(test)]
pub(super) fn method_and_path(row: &Row) -> (&'static str, &'static str) {
    let method = match row.method {
        HttpMethod::Get => "GET",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Options | HttpMethod::Head | HttpMethod::Trace => "another method",
    };
    (method, row.path)
}
