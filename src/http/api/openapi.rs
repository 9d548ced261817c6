//! Builds the OpenAPI documents of both APIs from their operations.

use http::Method;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    ComponentsBuilder, Content, ContentBuilder, Info, OpenApi, OpenApiBuilder, PathItem, Required,
    ResponseBuilder,
};
use utoipa::{PartialSchema, openapi};

use api::error::Error;
use api::operations::{Description, JSON, NamedSchema, Wire};

/// Builds an OpenAPI 3.1 document from descriptions of operations and the schemas of their types.
pub(crate) fn document(
    info: Info,
    prefix: &str,
    descriptions: Vec<Description>,
    mut schemas: Vec<NamedSchema>,
) -> OpenApi {
    let error = ResponseBuilder::new()
        .description("Refused or failed")
        .content(JSON, ContentBuilder::new().schema(Some(Error::reference(&mut schemas))).build());
    let error = error.build();
    let paths = descriptions.into_iter().fold(PathsBuilder::new(), |paths, row| {
        let mut operation = OperationBuilder::new().summary(Some(row.summary));
        for name in row.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')) {
            operation =
                operation.parameter(parameter(name).parameter_in(ParameterIn::Path).required(Required::True));
        }
        for row_parameter in row.query {
            let lines = row_parameter.description.iter().map(|line| line.trim());
            let description = lines.collect::<Vec<_>>().join(" ");
            operation = operation.parameter(
                parameter(row_parameter.name)
                    .parameter_in(ParameterIn::Query)
                    .required(Required::False)
                    .description(Some(description)),
            );
        }
        if let Some(body) = row.body {
            let request = RequestBodyBuilder::new().required(Some(Required::True));
            operation =
                operation.request_body(Some(request.content(body.media, content(body.schema)).build()));
        }
        let success = ResponseBuilder::new().description("Done");
        let success = match row.response {
            Some(response) => success.content(response.media, content(response.schema)),
            None => success,
        };
        let operation = operation.response("2XX", success.build()).response("default", error.clone());
        paths.path(format!("{prefix}{}", row.path), PathItem::new(method(&row.method), operation.build()))
    });
    let components =
        schemas.into_iter().fold(ComponentsBuilder::new(), |c, (name, schema)| c.schema(name, schema));
    OpenApiBuilder::new().info(info).paths(paths.build()).components(Some(components.build())).build()
}

fn parameter(name: &str) -> ParameterBuilder {
    ParameterBuilder::new().name(name).schema(Some(String::schema()))
}

fn content(schema: Option<openapi::RefOr<openapi::Schema>>) -> Content {
    match schema {
        Some(schema) => ContentBuilder::new().schema(Some(schema)).build(),
        None => ContentBuilder::new().build(),
    }
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}
