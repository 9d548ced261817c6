//! The page of the binaries of a package.

use super::context::Context;
use super::project;
use crate::http::api::platforms::wire_binary;
use crate::http::error::Failure;
use content::serve;
use pages::binaries::{BinaryLine, MAX_ROWS, page};
use pages::text::segment;

/// Returns the page of the binaries of an R package in the lists of its source, the newest version first.
pub(super) async fn list(context: Context<'_>, package: &str) -> Result<String, Failure> {
    let package = project::detail(&context, package).await?.release.package;
    let all = serve::binary_rows::at_point(&context.app.state, context.point, &package).await?;
    let total = all.len();
    let rows = all.into_iter().take(MAX_ROWS).map(|row| {
        let (listed, size) = (row.listed_at.day(), row.size);
        let binary = wire_binary(row);
        BinaryLine {
            version: binary.version,
            platform: binary.platform,
            architecture: binary.arch,
            listed,
            size: size.and_then(|size| u64::try_from(size).ok()),
            sha256: binary.sha256,
        }
    });
    let rows: Vec<BinaryLine> = rows.collect();
    let json = context.api(&format!("packages/{}/builds", segment(&package)));
    Ok(page(context.root.clone(), &context.location, &package, &rows, total, json))
}
