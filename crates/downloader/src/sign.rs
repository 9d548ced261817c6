//! Keys that sign bundles, and `sign`: the signatures of heads that a directory has already.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::args::{Keygen, SignFlags};
use super::destination::{Destination, folder_of};
use super::error::{ExitStatus, OfflineError};
use super::files::{FileKind, walk};
use super::progress::Output;
use base::model::kind::{Language, Layout};
use base::model::text::count_of;
use formats::bundle::shared::SharedFolder;
use formats::bundle::{Product, layout};
use formats::tlog::note::{KeyType, Signer};

/// Creates a key in a new file, and prints the public key.
pub(super) fn keygen(args: &Keygen) -> Result<ExitStatus, OfflineError> {
    let to_error = |e| OfflineError::destination("write", &args.out, e);
    let mut seed = [0; 32];
    let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed));
    random.map_err(|e| OfflineError::Refused(format!("could not read random numbers: {e}")))?;
    let usage_error = |e| OfflineError::Usage(format!("--name: {e}"));
    let text = Signer::private_text(&args.name, &seed).map_err(usage_error)?;
    let signer = Signer::from_seed(&args.name, &seed).map_err(usage_error)?;
    // An existing key is never replaced.
    let mut file =
        File::options().write(true).create_new(true).mode(0o600).open(&args.out).map_err(to_error)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(to_error)?;
    print(signer.key(KeyType::Note))?;
    Ok(ExitStatus::Complete)
}

fn print(line: impl std::fmt::Display) -> Result<(), OfflineError> {
    let result = writeln!(std::io::stdout(), "{line}");
    result.map_err(|e| OfflineError::Refused(format!("could not write the output: {e}")))
}

/// Reads the key in the file of `--sign-key`.
pub(super) fn read_key(file: &Path) -> Result<Signer, OfflineError> {
    let usage_error =
        |reason: String| OfflineError::Usage(format!("--sign-key {}: {reason}", file.display()));
    let text = fs::read_to_string(file).map_err(|e| usage_error(e.to_string()))?;
    text.parse().map_err(|e| usage_error(format!("{e}; make one with rspm-offline-downloader keygen")))
}

/// Signs all heads of a directory, and the versions of Bioconductor.
pub(super) fn sign(args: &SignFlags, output: Output) -> Result<ExitStatus, OfflineError> {
    let destination = Destination::open(&args.destination)?.signed_by(read_key(&args.sign_key)?);
    let is_project = |language: &Language| language.layout() == Layout::Projects;
    let projects = Language::ALL.into_iter().filter(is_project).map(Product::Projects);
    let folders = ["v3", "bioc", "bindex"].map(str::to_owned).into_iter();
    let folders = folders.chain(projects.map(|product| product.to_string()));
    let shared = SharedFolder::ALL.map(|shared| shared.folder().to_owned());
    let files = walk(&destination, &folders.chain(shared).collect::<Vec<_>>())?.files;
    let is_head = |path: &str| {
        let (folder, name) = (folder_of(path), path.rsplit('/').next().unwrap_or_default());
        let is_copy = folder.ends_with(&format!("/{}", layout::HEADS)) && name.ends_with(".json");
        name == layout::HEAD || is_copy || path == layout::BIOCONDUCTOR_CONFIG
    };
    let mut count = 0;
    for (path, _) in files.iter().filter(|(path, kind)| is_head(path) && matches!(kind, FileKind::File)) {
        destination.put_note(path, &destination.read(path)?)?;
        count += 1;
    }
    output.info(&format!("signed {}", count_of(count, "file", "files")));
    Ok(if count == 0 { ExitStatus::Incomplete } else { ExitStatus::Complete })
}
