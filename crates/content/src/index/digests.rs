//! Computes the SHA-256 of files for which the page of an index declares only another digest, such as MD5, or
//! none. Each is downloaded once; later downloads are compared with the computed digest.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use md5::Md5;
use sha2::{Digest, Sha256 as Sha256Hasher, Sha512};

use super::permits::Permit;
use super::{IndexReads, PageError, locator};
use base::config::IndexConfig;
use base::model::digest::Sha256;
use base::model::project_page::UpstreamFile;
use formats::language::Projects;
use store::db::index_file::{self, IndexTarget, KnownIndexFile};
use store::db::project::KnownProject;
use store::db::{Conn, DbError, tree};
use upstream::{ByteSink, Upstream, UpstreamError};

const CONCURRENCY: usize = 4;
/// Time limit for the downloads of one reading of a page; a later reading downloads the remaining files.
const TIME: Duration = Duration::from_secs(60);
/// Maximum size of a file whose digest is computed, in bytes.
const MAX_FILE: u64 = 4 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComputedDigest {
    pub sha256: Sha256,
    /// The number of bytes; `None` for a file whose digest was computed by an earlier reading.
    pub size: Option<i64>,
}

/// Computed digests of the files of a page, by file name.
#[derive(Clone, Debug, Default)]
pub(super) struct ComputedDigests {
    pub(super) by_name: HashMap<String, ComputedDigest>,
    /// Number of files without a digest that a later reading can compute.
    pub(super) missing: usize,
}

/// Returns the SHA-256 of the files for which the page of an index declares none, known or from a download. Fails with
/// [`PageError::Busy`].
pub(super) async fn complete(
    reads: &IndexReads,
    known: &KnownProject,
    files: &[UpstreamFile],
    permit: &mut Permit<'_>,
) -> Result<ComputedDigests, PageError> {
    let (state, mut digests) = (&reads.state, ComputedDigests::default());
    let config = reads.config()?;
    let base = locator::base(&config);
    let undeclared = files.iter().filter(|file| file.sha256().is_none());
    let undeclared: Vec<(UpstreamFile, String)> = undeclared
        .filter_map(|file| Some((file.clone(), locator::locator(&file.url, base.as_ref()?)?)))
        .collect();
    if undeclared.is_empty() {
        return Ok(digests);
    }
    let earlier = earlier_files(reads, known).await;
    let earlier = earlier.map_err(|error| PageError::Failed(error.to_string()))?;
    let mut requests = Vec::new();
    let upstream = state.upstream.load_full();
    for (file, locator) in undeclared {
        if let Some(sha256) = earlier_digest(reads.language, &earlier, &file, &locator) {
            let digest = ComputedDigest { sha256, size: None };
            digests.by_name.insert(file.name, digest);
        } else {
            requests.push(request(Arc::clone(&upstream), Arc::clone(&config), file, locator));
        }
    }
    if requests.is_empty() {
        return Ok(digests);
    }
    permit.exchange_for_downloads().await?;
    digests.missing = requests.len();
    let mut results = stream::iter(requests).buffer_unordered(CONCURRENCY);
    let deadline = tokio::time::Instant::now() + TIME;
    while let Ok(Some((name, digest))) = tokio::time::timeout_at(deadline, results.next()).await {
        match digest {
            Ok(digest) => {
                digests.missing -= 1;
                digests.by_name.insert(name, digest);
            }
            Err(error) => {
                tracing::warn!(target: "sync", file = %name, %error, "could not compute the digest of a file of the index");
                if !matches!(error, UpstreamError::Unavailable { .. }) {
                    // Permanent error: a later reading would fail too, so the file does not count as missing.
                    digests.missing -= 1;
                }
            }
        }
    }
    Ok(digests)
}

async fn earlier_files(reads: &IndexReads, known: &KnownProject) -> Result<Vec<KnownIndexFile>, DbError> {
    let source = reads.source;
    let Some(package) = known.package else { return Ok(Vec::new()) };
    let read = move |c: &mut dyn Conn| {
        let tree = tree::built_in(c, source)?.id;
        index_file::of_project(c, IndexTarget { source, tree, package })
    };
    reads.state.db.read(read).await
}

/// Returns the digest computed by an earlier reading, if the page states the same address and the same other digest.
fn earlier_digest(
    language: &dyn Projects,
    earlier: &[KnownIndexFile],
    file: &UpstreamFile,
    locator: &str,
) -> Option<Sha256> {
    let same_name = earlier.iter().filter(|known| known.name == file.name);
    let newest = same_name.max_by_key(|known| known.revision)?;
    let is_same = newest.locator == locator
        && language.other_digest(&newest.facts) == language.other_digest(&file.facts);
    is_same.then_some(newest.sha256)
}

async fn request(
    upstream: Arc<Upstream>,
    config: Arc<IndexConfig>,
    file: UpstreamFile,
    locator: String,
) -> (String, Result<ComputedDigest, UpstreamError>) {
    let digest = receive(&upstream, &config, &file, &locator).await;
    (file.name, digest)
}

/// Downloads a file, computes its SHA-256, and compares its MD5 and SHA-512 with those that the page declares.
async fn receive(
    upstream: &Upstream,
    config: &IndexConfig,
    file: &UpstreamFile,
    locator: &str,
) -> Result<ComputedDigest, UpstreamError> {
    let refusal = |reason: String| UpstreamError::Refused { url: file.name.clone(), reason };
    let address = locator::address(locator, config).map_err(refusal)?;
    let mirror = upstream.mirror(&address.folder)?;
    let mut hasher = Hasher::new(file);
    let size = mirror.download(&address.path, file.size, &mut hasher).await?;
    for (algorithm, computed) in hasher.others() {
        let declared = file.hashes.get(algorithm);
        if declared.is_some_and(|declared| !declared.eq_ignore_ascii_case(&computed)) {
            return Err(refusal(format!(
                "its {algorithm} is {computed}, not the one that its page declares"
            )));
        }
    }
    Ok(ComputedDigest { sha256: hasher.sha256(), size: i64::try_from(size).ok() })
}

struct Hasher {
    name: String,
    bytes: u64,
    sha256: Sha256Hasher,
    md5: Md5,
    sha512: Sha512,
}

impl Hasher {
    fn new(file: &UpstreamFile) -> Hasher {
        let (sha256, md5, sha512) = (Sha256Hasher::new(), Md5::new(), Sha512::new());
        Hasher { name: file.name.clone(), bytes: 0, sha256, md5, sha512 }
    }

    fn sha256(&self) -> Sha256 {
        Sha256(self.sha256.clone().finalize().into())
    }

    fn others(&self) -> [(&'static str, String); 2] {
        [
            ("md5", hex::encode(self.md5.clone().finalize())),
            ("sha512", hex::encode(self.sha512.clone().finalize())),
        ]
    }
}

impl ByteSink for Hasher {
    fn begin(&mut self, _size: Option<u64>) {
        self.bytes = 0;
        self.sha256 = Sha256Hasher::new();
        self.md5 = Md5::new();
        self.sha512 = Sha512::new();
    }

    async fn take(&mut self, chunk: Bytes) -> Result<(), UpstreamError> {
        self.bytes += chunk.len() as u64;
        if self.bytes > MAX_FILE {
            let reason = format!("has more than {MAX_FILE} bytes");
            return Err(UpstreamError::Refused { url: self.name.clone(), reason });
        }
        self.sha256.update(&chunk);
        self.md5.update(&chunk);
        self.sha512.update(&chunk);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::{FileId, ReleaseId};
    use base::model::kind::Language;
    use base::model::project_name::ProjectName;
    use formats::language;

    fn python() -> &'static dyn Projects {
        language::of(Language::Python).projects().expect("an index")
    }

    fn page_file(byte: &str) -> UpstreamFile {
        let md5 = byte.repeat(16);
        let url = "http://h/".parse().expect("a URL");
        let body = format!("<a href='one-1.0.tar.gz#md5={md5}'>one-1.0.tar.gz</a>");
        let projects = [ProjectName::folded("one")];
        let pages = python().read_page(Some("text/html"), body.as_bytes(), &url, &projects);
        pages.expect("a page").remove(0).files.remove(0)
    }

    #[test]
    fn a_digest_is_reused_while_the_page_states_the_same() {
        let known = |revision: i64, md5: &str, sha256: u8| KnownIndexFile {
            release: ReleaseId(1),
            file: FileId(revision),
            revision,
            name: "one-1.0.tar.gz".to_owned(),
            sha256: Sha256([sha256; 32]),
            locator: "/one-1.0.tar.gz".to_owned(),
            last_variant: 0,
            facts: page_file(md5).facts,
            life: None,
            last_end: None,
            metadata: None,
            is_metadata_of_wheel: false,
        };
        let earlier = [known(0, "aa", 1), known(1, "bb", 2)];
        let digest = |md5: &str, locator: &str| earlier_digest(python(), &earlier, &page_file(md5), locator);
        assert_eq!(digest("bb", "/one-1.0.tar.gz"), Some(Sha256([2; 32])));
        assert_eq!(digest("aa", "/one-1.0.tar.gz"), None, "other bytes had the name since");
        assert_eq!(digest("cc", "/one-1.0.tar.gz"), None);
        assert_eq!(digest("bb", "/other/one-1.0.tar.gz"), None);
        assert_eq!(earlier_digest(python(), &[], &page_file("bb"), "/one-1.0.tar.gz"), None);
    }
}
