//! `rspm add` and `rspm remove package`.

use hyper::Method;

use super::args::{Add, RemovePackage};
use super::client::{Client, segment};
use super::error::CliError;
use super::output::Output;
use crate::api::source::{self, AddedPackages, Outcome, RemovedPackage};

async fn add_uploads(client: &Client, args: &Add) -> Result<AddedPackages, CliError> {
    let mut uploads = Vec::with_capacity(args.path.len());
    for path in &args.path {
        let upload = client.upload(path).await.map_err(|e| match e {
            CliError::Refused(reason) => CliError::Refused(format!("{}: {reason}", path.display())),
            other => other,
        })?;
        uploads.push(upload.id);
    }
    let body =
        source::AddPackages { uploads, replace: args.replace, succeed_on_existing: args.succeed_on_existing };
    client.send(Method::POST, &format!("/sources/{}/packages", segment(&args.source)), &body).await
}

/// `rspm add`: every file is handed in and checked first; then all become part of the source in one transaction, or
/// none does.
///
/// # Errors
/// A file cannot be read, or the server refuses one.
pub async fn add(client: &Client, output: &Output, args: Add) -> Result<(), CliError> {
    let added = match add_uploads(client, &args).await {
        // The server was restarted or upgraded in between.
        Err(CliError::Refused(reason)) if reason.contains("there is no upload") => {
            add_uploads(client, &args).await
        }
        other => other,
    }?;
    output.print(&added, || {
        let line = |(path, package): (&std::path::PathBuf, &source::AddedPackage)| match package.outcome {
            Outcome::Added => format!("Added package '{}'.\n", path.display()),
            Outcome::Replaced => {
                format!("Replaced {} {} by '{}'.\n", package.name, package.version, path.display())
            }
            Outcome::Existing if args.replace => format!(
                "{} {} is in source '{}' with the bytes of '{}' already.\n",
                package.name,
                package.version,
                args.source,
                path.display()
            ),
            Outcome::Existing => format!(
                "{} {} is in source '{}' already; '{}' was not added.\n",
                package.name,
                package.version,
                args.source,
                path.display()
            ),
        };
        args.path.iter().zip(&added.packages).map(line).collect()
    })
}

/// `rspm remove package`.
///
/// # Errors
/// The name has no scope, or the server refuses.
pub async fn remove(client: &Client, output: &Output, args: RemovePackage) -> Result<(), CliError> {
    let Some((name, scope)) = args.name.split_once('@').filter(|(n, s)| !n.is_empty() && !s.is_empty())
    else {
        return Err(CliError::Refused(format!(
            "'{0}' does not say what to remove: use {0}@current, {0}@all or {0}@<version>",
            args.name.trim_end_matches('@')
        )));
    };
    let body = source::RemovePackage {
        name: name.to_owned(),
        scope: scope.to_owned(),
        comment: args.comment.clone(),
    };
    let path = format!("/sources/{}/packages/remove", segment(&args.source));
    let removed: RemovedPackage = client.send(Method::POST, &path, &body).await?;
    output.print(&removed, || {
        format!("Removed {} {} from source '{}'.", removed.name, removed.versions.join(", "), args.source)
    })
}
