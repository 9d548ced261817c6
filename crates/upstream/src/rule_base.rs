//! Fetches the rule base of system requirements from an archive, a document, or a folder.

use std::path::Path;

use super::origin::bundle::{Bundle, SharedCheck};
use super::transport::Transport;
use super::transport::decompress::{self, UnpackLimits};
use super::transport::file::{FileRequest, FileResponse, Validators};
use super::{Upstream, UpstreamError};
use formats::bundle::layout;
use formats::bundle::shared::SharedFolder;
use formats::r::sysreqs::RuleBase;

/// Size limit of a fetched archive or document, in bytes: about forty times the size of the published one.
const MAX_FETCHED_SIZE: u64 = 32 << 20;
/// Size limit of one file, in bytes.
const MAX_FILE_SIZE: u64 = 1 << 20;
/// Size limit of all files together, in bytes.
const MAX_TOTAL_SIZE: u64 = 64 << 20;
/// Maximum number of files in a folder.
const MAX_FILES: usize = 20_000;

#[derive(Clone, Debug)]
pub enum RuleBaseRefresh {
    /// Unchanged since the given validators.
    Unchanged,
    /// The rule base, and its new validators.
    Read(Box<RuleBase>, Validators),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RuleBaseForm {
    /// A tar archive of a folder.
    Archive,
    Document,
    Compressed,
}

impl RuleBaseForm {
    fn of(file: &str) -> Option<RuleBaseForm> {
        let file = file.to_ascii_lowercase();
        let has_extension =
            |extensions: &[&str]| extensions.iter().any(|extension| file.ends_with(extension));
        if has_extension(&[".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst"]) {
            Some(RuleBaseForm::Archive)
        } else if has_extension(&[".json.zst"]) {
            Some(RuleBaseForm::Compressed)
        } else {
            has_extension(&[".json"]).then_some(RuleBaseForm::Document)
        }
    }
}

impl Upstream {
    /// Reads the rule base at `url`: an archive (`….tar.gz` etc.), a document (`….json`, `….json.zst`), a folder
    /// (`file:///`) with `rules/*.json` and `systems.json`, or the folder `sysreqs` of a bundle.
    pub async fn rule_base(
        &self,
        url: &str,
        known_validators: Option<Validators>,
    ) -> Result<RuleBaseRefresh, UpstreamError> {
        let url = url.trim_end_matches('/');
        let (folder, file) = url.rsplit_once('/').unwrap_or((url, ""));
        if self.must_be_bundle(url) {
            return read_bundle(&self.bundle(folder)?, known_validators).await;
        }
        let Some(form) = RuleBaseForm::of(file) else {
            let transport = self.transport(url)?;
            return match transport.directory() {
                Some(root) if root.join(layout::HEAD).is_file() => {
                    read_bundle(&self.bundle(folder)?, known_validators).await
                }
                Some(root) => read_folder(&transport, root).await,
                None if file == SharedFolder::Requirements.folder() => {
                    read_bundle(&self.bundle(folder)?, known_validators).await
                }
                None => Err(refusal(
                    &transport,
                    "is neither an archive (.tar.gz) nor a document (.json); only a folder (file:///) may be \
                     given without a file name"
                        .to_owned(),
                )),
            };
        };
        let transport = self.transport(folder)?;
        match transport
            .fetch(FileRequest { path: file, validators: known_validators, limit: MAX_FETCHED_SIZE })
            .await?
        {
            FileResponse::Unchanged => Ok(RuleBaseRefresh::Unchanged),
            FileResponse::Body { bytes, validators } => {
                let base = decompress::run_blocking(move || unpack(form, &bytes)).await;
                Ok(RuleBaseRefresh::Read(
                    Box::new(base.map_err(|reason| refusal(&transport, reason))?),
                    validators,
                ))
            }
        }
    }
}

/// Parses a fetched rule base; the extension of `file` determines the format.
pub fn parse_file(file: &str, bytes: &[u8]) -> Result<RuleBase, String> {
    unpack(RuleBaseForm::of(file).ok_or("neither an archive nor a document")?, bytes)
}

fn refusal(transport: &Transport, reason: String) -> UpstreamError {
    UpstreamError::Refused { url: transport.address(), reason }
}

fn unpack(form: RuleBaseForm, bytes: &[u8]) -> Result<RuleBase, String> {
    match form {
        RuleBaseForm::Archive => {
            let mut files = Vec::new();
            let limits = UnpackLimits {
                total_size: MAX_TOTAL_SIZE,
                file_size: MAX_FILE_SIZE,
                file_count: MAX_FILES as u64,
            };
            decompress::tar(bytes, limits, RuleBase::accepts, |path, bytes| files.push((path, bytes)))
                .map_err(|error| error.to_string())?;
            RuleBase::from_files(files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())))
        }
        RuleBaseForm::Document => RuleBase::from_document(bytes),
        RuleBaseForm::Compressed => RuleBase::from_document(&decompress::zstd(bytes, MAX_TOTAL_SIZE)?),
    }
    .map_err(|error| error.to_string())
}

async fn read_bundle(
    bundle: &Bundle,
    known_validators: Option<Validators>,
) -> Result<RuleBaseRefresh, UpstreamError> {
    let refusal = |reason: String| refusal(bundle.transport(), reason);
    let shared_folder = SharedFolder::Requirements;
    let check = bundle.check_shared(shared_folder, ["rules"], known_validators.as_ref()).await;
    let (file, validators) = match check.map_err(|error| refusal(error.to_string()))? {
        SharedCheck::Unchanged => return Ok(RuleBaseRefresh::Unchanged),
        SharedCheck::Changed(mut files, validators) => (files.pop(), validators),
        SharedCheck::Absent => (None, Validators::default()),
    };
    let file =
        file.ok_or_else(|| refusal(format!("the head of {} names no rules", shared_folder.folder())))?;
    let document =
        bundle.shared_file(shared_folder, &file).await.map_err(|error| refusal(error.to_string()))?;
    let base = RuleBase::from_document(&document).map_err(|error| refusal(error.to_string()))?;
    Ok(RuleBaseRefresh::Read(Box::new(base), validators))
}

async fn read_folder(transport: &Transport, root: &Path) -> Result<RuleBaseRefresh, UpstreamError> {
    let rules = root.join("rules");
    let listing = tokio::task::spawn_blocking(move || {
        let names = std::fs::read_dir(&rules)?.map(|entry| entry.map(|entry| entry.file_name()));
        names.take(MAX_FILES).collect::<std::io::Result<Vec<_>>>()
    });
    let reason = match listing.await {
        Ok(Ok(names)) => {
            let paths = names.iter().filter_map(|name| Some(format!("rules/{}", name.to_str()?)));
            let mut paths: Vec<String> = paths.filter(|path| RuleBase::accepts(path)).collect();
            paths.push("systems.json".to_owned());
            return read_all(transport, paths).await;
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(refusal(transport, format!("has no folder 'rules' that can be read ({reason})")))
}

async fn read_all(transport: &Transport, paths: Vec<String>) -> Result<RuleBaseRefresh, UpstreamError> {
    let (mut files, mut size) = (Vec::with_capacity(paths.len()), 0);
    for path in paths {
        match transport.fetch(FileRequest { path: &path, validators: None, limit: MAX_FILE_SIZE }).await? {
            FileResponse::Unchanged => {}
            FileResponse::Body { bytes, .. } => {
                size += bytes.len() as u64;
                if size > MAX_TOTAL_SIZE {
                    return Err(refusal(transport, format!("has more than {MAX_TOTAL_SIZE} bytes of rules")));
                }
                files.push((path, bytes));
            }
        }
    }
    let base = RuleBase::from_files(files.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])));
    let base = base.map_err(|error| refusal(transport, error.to_string()))?;
    Ok(RuleBaseRefresh::Read(Box::new(base), Validators::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_extension_determines_the_format_of_rules() {
        assert_eq!(RuleBaseForm::of("main.tar.gz"), Some(RuleBaseForm::Archive));
        assert_eq!(RuleBaseForm::of("RULES.TGZ"), Some(RuleBaseForm::Archive));
        assert_eq!(RuleBaseForm::of("0a1b.json.zst"), Some(RuleBaseForm::Compressed));
        assert_eq!(RuleBaseForm::of("rules.json"), Some(RuleBaseForm::Document));
        assert_eq!(RuleBaseForm::of("sysreqs"), None);
    }
}
