//! Binaries: add uploads as binaries of a source's releases, list, remove.

use super::call::{Answer, Call};
use super::package::{existing_policy, outcome};
use crate::http::api::platforms::wire_binary;
use crate::http::error::Failure;
use api::binary::{
    AddBinaries, AddedBinaries, AddedBinary, Binary, ListBinaries, RemoveBinary, RemovedBinary,
    RemovedBinaryFile,
};
use content::serve;
use formats::r::platform::{ANY_ARCH, Arch};
use tasks::edit;

pub(super) async fn add(call: Call<'_>, name: &str, body: AddBinaries) -> Answer<AddedBinaries> {
    let Call { app, actor, .. } = call;
    let existing = existing_policy(body.replace, body.succeed_on_existing)?;
    let (tx, added) =
        edit::add_binary::add(&app.uploads, name, &body.distribution, &body.uploads, existing, &actor)
            .await?;
    let packages = added.into_iter().map(|binary| AddedBinary {
        file: binary.upload.file,
        name: binary.upload.package,
        version: binary.upload.version,
        distribution: body.distribution.clone(),
        r_version: binary.r_version,
        arch: binary.arch.map_or(ANY_ARCH, Arch::as_str).to_owned(),
        sha256: binary.upload.sha256.to_string(),
        size: binary.upload.size,
        outcome: outcome(binary.outcome),
    });
    Ok(AddedBinaries { transaction: tx.map(|id| id.0), packages: packages.collect() })
}

pub(super) async fn list(call: Call<'_>, name: &str, query: ListBinaries) -> Answer<Vec<Binary>> {
    let package = query.package.as_deref().filter(|package| !package.is_empty());
    let package = package
        .ok_or_else(|| Failure::bad_request("the parameter package, the name of a package, is missing"))?;
    let rows = serve::binary_rows::in_source(&call.app.state, name, package).await?;
    Ok(rows.into_iter().map(wire_binary).collect())
}

pub(super) async fn remove(call: Call<'_>, name: &str, body: RemoveBinary) -> Answer<RemovedBinary> {
    let Call { app, actor, .. } = call;
    let (package, version, platform) = (&body.name, &body.version, &body.platform);
    let remove = edit::remove_binary::remove;
    let (platform, removed) =
        remove(&app.state, name, package, version, platform, &body.comment, &actor).await?;
    let binaries = removed.into_iter().map(|binary| RemovedBinaryFile {
        arch: binary.arch.map_or(ANY_ARCH, Arch::as_str).to_owned(),
        sha256: binary.sha256.map(|digest| digest.to_string()),
    });
    Ok(RemovedBinary {
        name: body.name,
        version: body.version,
        platform: platform.to_string(),
        binaries: binaries.collect(),
    })
}
