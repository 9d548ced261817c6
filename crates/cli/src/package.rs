//! `rspm add`, `rspm remove`, `rspm yank` and `rspm unyank`.

use std::path::{Path, PathBuf};

use super::args::{Add, AddBinary, AddKind, RemoveBinary, RemovePackage};
use super::client::Client;
use super::curated;
use super::error::CliError;
use super::output::{Output, note, shortened, warn};
use api::binary::{self, RemovedBinary};
use api::error::Code;
use api::operations::admin as operations;
use api::source::{self, AddOutcome};
use base::model::kind::Supply;

async fn is_curated(client: &Client, source: &str) -> Result<bool, CliError> {
    let source = client.call::<operations::Source>([source], &()).await?;
    Ok(source.kind.supply() == Supply::Curated)
}

/// `rspm add`: uploads and checks every file first, then adds all of them to the source in one transaction, or none.
pub async fn add(client: &Client, output: &Output, args: Add) -> Result<(), CliError> {
    if let Some(AddKind::Binary(binary)) = args.kind {
        return add_binary(client, output, binary).await;
    }
    let source = args.source.as_deref().unwrap_or_default();
    let file_in = args.file_in.as_deref();
    let has_curated_flags = !args.packages.is_empty() || args.include_suggests || args.definition.is_used();
    if has_curated_flags || (file_in.is_some() && is_curated(client, source).await?) {
        if file_in.is_none() && args.packages.is_empty() {
            let reason =
                "these flags are for curated sources: name packages with --packages or --file-in, not --path";
            return Err(CliError::refused(reason));
        }
        return curated::add(
            client,
            output,
            source,
            &args.packages,
            file_in,
            args.include_suggests,
            &args.definition,
        )
        .await;
    }
    let paths = paths(file_in, &args.path)?;
    let kind = client.upload_kind(source).await?;
    let result = upload_and_add(client, &paths, kind, async |uploads| {
        let body = source::AddPackages { uploads, ..args.request.clone() };
        client.send::<operations::AddPackages>([source], &body).await
    });
    let result = result.await?;
    for warning in &result.warnings {
        warn(shortened(warning, 400));
    }
    output.print(&result, || {
        let line = |(path, package): (&std::path::PathBuf, &source::AddedPackage)| match package.outcome {
            AddOutcome::Added => format!("Added package '{}'.\n", path.display()),
            AddOutcome::Replaced => {
                format!("Replaced {} {} by '{}'.\n", package.name, package.version, path.display())
            }
            AddOutcome::Existing if args.request.replace => format!(
                "{} {} is already in source '{}' with the same bytes as '{}'.\n",
                package.name,
                package.version,
                source,
                path.display()
            ),
            AddOutcome::Existing => format!(
                "{} {} is already in source '{}'; '{}' was not added.\n",
                package.name,
                package.version,
                source,
                path.display()
            ),
        };
        paths.iter().zip(&result.packages).map(line).collect()
    })
}

/// Returns the files that the flags name: those in a list, otherwise those of `--path`.
fn paths(file_in: Option<&Path>, parts: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    file_in.map_or_else(|| Ok(join_paths(parts)), read_file_list)
}

/// Reads a list of paths, one on each line; relative paths start at the working directory, like the paths of `--path`.
fn read_file_list(list: &Path) -> Result<Vec<PathBuf>, CliError> {
    let text = std::fs::read_to_string(list)
        .map_err(|source| CliError::Local { operation: format!("read {}", list.display()), source })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let paths: Vec<PathBuf> = lines.map(PathBuf::from).collect();
    if paths.is_empty() {
        let reason = format!("{} names no file; write one path on each line", list.display());
        return Err(CliError::refused(reason));
    }
    Ok(paths)
}

/// Uploads files and adds them; repeats both if the server was restarted or upgraded after the uploads and has lost them.
async fn upload_and_add<T>(
    client: &Client,
    paths: &[PathBuf],
    kind: &str,
    add: impl AsyncFn(Vec<u64>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    match add(upload_all(client, paths, kind).await?).await {
        Err(error) if error.has_code(Code::NoUpload) => add(upload_all(client, paths, kind).await?).await,
        other => other,
    }
}

async fn upload_all(client: &Client, paths: &[PathBuf], kind: &str) -> Result<Vec<u64>, CliError> {
    let mut uploads = Vec::with_capacity(paths.len());
    for path in paths {
        let upload = client.upload(path, kind).await.map_err(|e| match e {
            CliError::Refused { code, reason } => {
                CliError::Refused { code, reason: format!("{}: {reason}", path.display()) }
            }
            other => other,
        })?;
        for notice in &upload.notices {
            note(format!("{}: {notice}", path.display()));
        }
        uploads.push(upload.id);
    }
    Ok(uploads)
}

/// Returns the files of a comma-separated list, which was split at each comma: parts that are the name of a file only
/// together, with the commas between them, are one path.
fn join_paths(parts: &[PathBuf]) -> Vec<PathBuf> {
    let mut paths = Vec::with_capacity(parts.len());
    let mut rest = parts;
    while let Some(first) = rest.first() {
        let mut path = first.clone();
        let mut count = 1;
        while !path.is_file() && count < rest.len() {
            path.as_mut_os_string().push(",");
            path.as_mut_os_string().push(&rest[count]);
            count += 1;
        }
        if !path.is_file() {
            (path, count) = (first.clone(), 1);
        }
        paths.push(path);
        rest = &rest[count..];
    }
    paths
}

/// `rspm add binary`: does the same as `rspm add`, with binaries for one distribution.
async fn add_binary(client: &Client, output: &Output, args: AddBinary) -> Result<(), CliError> {
    let paths = paths(args.file_in.as_deref(), &args.path)?;
    let result = upload_and_add(client, &paths, "binary", async |uploads| {
        let body = binary::AddBinaries { uploads, ..args.request.clone() };
        client.send::<operations::AddBinaries>([&args.source], &body).await
    });
    let result = result.await?;
    output.print(&result, || {
        let line = |package: &binary::AddedBinary| {
            let arch = match package.arch.as_str() {
                "any" => "any architecture",
                arch => arch,
            };
            let description = format!(
                "{} with version {} for {} and R {} for {arch}",
                package.name, package.version, package.distribution, package.r_version
            );
            match package.outcome {
                AddOutcome::Added => format!("Added {description}\n"),
                AddOutcome::Replaced => format!("Replaced {description}\n"),
                AddOutcome::Existing => format!("Not added, already exists: {description}\n"),
            }
        };
        result.packages.iter().map(line).collect()
    })
}

/// `rspm remove package`.
///
/// # Errors
/// The name has no scope, or the server refuses.
pub async fn remove(client: &Client, output: &Output, args: RemovePackage) -> Result<(), CliError> {
    let (name, scope) = name_and_scope(&args.name, "remove")?;
    let body = source::RemovePackage { name: name.to_owned(), scope: scope.to_owned(), ..args.request };
    let result = client.send::<operations::RemovePackage>([&args.source], &body).await?;
    output.print(&result, || {
        if result.versions.is_empty() {
            // For a curated source: another package of the definition needs it.
            return format!(
                "Removed {} from the definition of source '{}', which still has it for other packages.",
                result.name, args.source
            );
        }
        format!("Removed {} {} from source '{}'.", result.name, result.versions.join(", "), args.source)
    })
}

pub async fn remove_binary(client: &Client, output: &Output, args: RemoveBinary) -> Result<(), CliError> {
    let result = client.send::<operations::RemoveBinary>([&args.source], &args.request).await?;
    output.print(&result, || {
        let line = |file: &binary::RemovedBinaryFile| {
            let arch = if file.arch == "any" { "any architecture" } else { &file.arch };
            let RemovedBinary { name, version, platform, .. } = &result;
            format!("Removed {name} {version} for {platform} ({arch}) from source '{}'\n", args.source)
        };
        result.binaries.iter().map(line).collect()
    })
}

/// `rspm yank` with a request that has a reason, `rspm unyank` with one that has none.
///
/// # Errors
/// The name has no scope, or the server refuses.
pub async fn yank(
    client: &Client,
    output: &Output,
    name: &str,
    source: &str,
    request: source::YankFiles,
) -> Result<(), CliError> {
    let (imperative, verb) =
        if request.reason.is_some() { ("yank", "Yanked") } else { ("unyank", "Unyanked") };
    let (name, scope) = name_and_scope(name, imperative)?;
    let body = source::YankFiles { name: name.to_owned(), scope: scope.to_owned(), ..request };
    let result = client.send::<operations::YankFiles>([source], &body).await?;
    output.print(&result, || match result.transaction {
        Some(_) => result.files.iter().map(|file| format!("{verb} {file} in source '{source}'.\n")).collect(),
        None => {
            format!("Nothing changed: the files of {name} {scope} in source '{source}' are as requested.\n")
        }
    })
}

/// Splits `name@1.2.3`, `name@all` or `name@current` into its two parts; `verb` is the verb of the error message.
fn name_and_scope<'a>(text: &'a str, verb: &str) -> Result<(&'a str, &'a str), CliError> {
    text.split_once('@').filter(|(name, scope)| !name.is_empty() && !scope.is_empty()).ok_or_else(|| {
        CliError::refused(format!(
            "'{0}' does not select what to {verb}: use {0}@current, {0}@all or {0}@<version>",
            text.trim_end_matches('@')
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_name_with_commas_are_one_path() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("a,b c")).expect("a folder");
        std::fs::create_dir(folder.path().join("a")).expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (plain, comma) = (path("x_1.0.tar.gz"), path("a,b c/y_1.0.tar.gz"));
        for file in [&plain, &comma] {
            std::fs::write(file, "x").expect("a file");
        }
        let missing = path("z_1.0.tar.gz");
        for list in [
            vec![comma.clone()],
            vec![plain.clone(), comma.clone()],
            vec![comma.clone(), plain.clone(), comma.clone()],
            vec![missing.clone(), plain.clone(), missing],
        ] {
            let joined = list.join(",");
            let parts: Vec<PathBuf> = joined.split(',').map(PathBuf::from).collect();
            assert_eq!(join_paths(&parts), list.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
    }
}
