//! Binary packages: making uploads builds of a source's releases.

use super::package::{chosen, outcome};
use super::{Answered, Call, ok};
use crate::api::binary::{AddBinaries, AddedBinaries, AddedBinary};
use crate::r::platform::Arch;

/// `POST /sources/{name}/binaries`.
pub(super) async fn add(call: Call<'_>, name: &str) -> Answered {
    let app = call.app;
    let (body, actor): (AddBinaries, _) = call.json().await?;
    let existing = chosen(body.replace, body.succeed_on_existing)?;
    let (tx, added) =
        app.repo.add_binaries(name, &body.distribution, &body.uploads, existing, &actor).await?;
    let packages = added.into_iter().map(|build| AddedBinary {
        file: build.upload.file,
        name: build.upload.package,
        version: build.upload.version,
        distribution: body.distribution.clone(),
        r_version: build.r_version,
        arch: build.arch.map_or("any", Arch::as_str).to_owned(),
        sha256: build.upload.sha256.to_string(),
        size: build.upload.size,
        outcome: outcome(build.outcome),
    });
    ok(&AddedBinaries { transaction: tx.map(|id| id.0), packages: packages.collect() })
}
