//! Checks that a directory is laid out as a CRAN-like mirror.

use std::path::{Path, PathBuf};

use crate::error::UpstreamError;
use crate::transport::Transport;

/// The forms of the index; a mirror has at least one of them.
const INDEXES: [&str; 3] = ["src/contrib/PACKAGES.gz", "src/contrib/PACKAGES.rds", "src/contrib/PACKAGES"];

/// Returns an error that names the paths that were tried if a directory is not a mirror. An address over HTTP
/// always passes: only a request for its first file shows whether it is usable.
pub(super) async fn check(transport: &Transport) -> Result<(), UpstreamError> {
    transport.check().await?;
    let Some(root) = transport.directory() else { return Ok(()) };
    let mut last_error = None;
    for index in INDEXES {
        match transport.open_in_place(index).await {
            Ok(_) => return Ok(()),
            Err(UpstreamError::Missing(_)) => {}
            Err(error) => last_error = Some(error),
        }
    }
    let refusal = |reason: String| UpstreamError::Refused { url: root.display().to_string(), reason };
    if let Some(schema) = other_schema(root.to_owned()).await {
        return Err(refusal(format!(
            "contains data of schema {schema} of another downloader, but no v3 (CRAN) or bioc/v4 (Bioconductor) in this \
             project's format: run its rspm-offline-downloader of this version, and copy the output beside the old data; \
             what the vendor's downloader wrote cannot be served"
        )));
    }
    if let Some(UpstreamError::Unavailable { reason, .. }) = &mut last_error
        && reason.ends_with(INDEXES[2])
    {
        // An empty directory; the error names the last file.
        reason.push_str(&format!(", {}, {} and v3/version.txt", INDEXES[0], INDEXES[1]));
    }
    Err(last_error.unwrap_or_else(|| {
        refusal(
            "is neither a CRAN-like mirror (looked for src/contrib/PACKAGES.gz, src/contrib/PACKAGES.rds and \
             src/contrib/PACKAGES) nor a bundle (looked for v3/version.txt)"
                .to_owned(),
        )
    }))
}

/// Returns the folder of bundle data that another version wrote.
async fn other_schema(root: PathBuf) -> Option<String> {
    let schema =
        tokio::task::spawn_blocking(move || schema_below(&root, "").or_else(|| schema_below(&root, "bioc")));
    schema.await.ok().flatten()
}

fn schema_below(root: &Path, folder: &str) -> Option<String> {
    let names = std::fs::read_dir(root.join(folder)).ok()?.flatten().map(|entry| entry.file_name());
    let is_schema = |name: &String| {
        name.strip_prefix('v')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let newest = names.filter_map(|name| name.into_string().ok()).filter(is_schema).max()?;
    Some(if folder.is_empty() { newest } else { format!("{folder}/{newest}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Upstream;

    #[tokio::test]
    async fn an_invalid_mirror_is_reported() {
        let upstream = Upstream::new(&base::config::Proxy::default()).expect("no proxy");
        let dir = tempfile::tempdir().expect("a folder");
        let url = format!("file://{}", dir.path().display());
        let transport = upstream.transport(&url).expect("an address");
        let mount = crate::transport::address::Address::parse(&url).expect("an address");
        let transport = transport.part_of(mount);
        let error = check(&transport).await.expect_err("no mirror").to_string();
        assert!(error.contains("is an empty directory; it may not be mounted"), "{error}");
        for file in INDEXES.into_iter().chain(["v3/version.txt"]) {
            assert!(error.contains(file), "{error}");
        }
        std::fs::write(dir.path().join("readme.txt"), "").expect("a file");
        let error = check(&transport).await.expect_err("no mirror").to_string();
        assert!(error.contains("src/contrib/PACKAGES.gz") && error.contains("v3/version.txt"), "{error}");
        std::fs::create_dir(dir.path().join("v2")).expect("a folder");
        let error = check(&transport).await.expect_err("old").to_string();
        assert!(
            error.contains("schema v2") && error.contains("v3") && error.contains("rspm-offline-downloader"),
            "{error}"
        );
        std::fs::create_dir_all(dir.path().join("src/contrib")).expect("folders");
        std::fs::write(dir.path().join("src/contrib/PACKAGES"), "").expect("an index");
        assert!(check(&transport).await.is_ok());
    }
}
