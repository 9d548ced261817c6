//! Advisories, wherever they lie: public data by ecosystem, an archive, JSON lines, a bundle, or a folder.

mod bucket;
mod bundle;
mod folder;
mod packed;

use super::bundle::Bundle;
use super::unpacked::{self, Bounds};
use super::{Fetch, Fetched, Mirror, Upstream, UpstreamError, Validators};
use crate::advisory::{Batch, Ecosystem};
use crate::bundle::layout;
use crate::bundle::shared::Shared;
use crate::config::without_userinfo;
use packed::Packing;

/// A file as it comes, in bytes: all advisories for PyPI have a tenth of it.
const FETCHED: u64 = 256 << 20;
/// All advisories of a place, in bytes and in number.
const BOUNDS: Bounds = Bounds { all: 512 << 20, file: crate::advisory::FILE, files: 500_000 };

/// A place that is looked at by itself.
#[derive(Clone, Debug)]
pub struct Feed {
    /// May hold user and password.
    url: String,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// One file.
    File(Packing),
    /// The folder of an ecosystem in public data.
    Bucket(Ecosystem),
    /// The folder of advisories in a bundle.
    Bundle(Vec<Ecosystem>),
    /// `file:///`: what is in it says what it is.
    Folder(Vec<Ecosystem>),
}

/// What a look at a place found.
#[derive(Debug)]
pub enum Look {
    /// As it was when the validators were given.
    Unchanged,
    /// There is no such folder.
    Absent,
    /// All of it, and what to ask with the next time.
    Read(Box<Batch>, Validators),
}

impl Feed {
    /// The places behind a URL: a file (`….tar.gz`, `….zip`, `….ndjson`, `….ndjson.zst`), `file:///` of a folder, the
    /// folder `vulns` of a bundle, or the root of public data, which has a folder for each ecosystem; only those of `wanted`
    /// are looked at.
    #[must_use]
    pub fn of(url: &str, wanted: &[Ecosystem]) -> Vec<Feed> {
        let url = url.trim_end_matches('/');
        let file = url.rsplit('/').next().unwrap_or_default();
        let form = match Packing::of(file) {
            Some(packing) => Form::File(packing),
            None if file == Shared::Advisories.folder() && !url.starts_with("file:") => {
                Form::Bundle(wanted.to_vec())
            }
            None if url.starts_with("file:") => Form::Folder(wanted.to_vec()),
            None => {
                let bucket =
                    |ecosystem: &Ecosystem| Feed { url: url.to_owned(), form: Form::Bucket(*ecosystem) };
                return wanted.iter().map(bucket).collect();
            }
        };
        vec![Feed { url: url.to_owned(), form }]
    }

    /// Whether a folder is that of a bundle.
    fn is_bundle(&self, folder: &Mirror) -> bool {
        let named = self.url.rsplit('/').next() == Some(Shared::Advisories.folder());
        named && folder.directory().is_some_and(|root| root.join(layout::HEAD).is_file())
    }

    /// What it is known by: its address, without user and password.
    #[must_use]
    pub fn name(&self) -> String {
        let url = without_userinfo(&self.url);
        match &self.form {
            Form::Bucket(ecosystem) => format!("{url}/{}", ecosystem.as_str()),
            Form::File(_) | Form::Bundle(_) | Form::Folder(_) => url,
        }
    }
}

impl Upstream {
    /// Looks at a place. `kept` is what it had the last time, if that is still at hand; it is read only when public data
    /// changed, of which the changes alone are fetched then.
    ///
    /// # Errors
    /// It cannot be had, or is nothing of the kind.
    pub async fn advisories(
        &self,
        feed: &Feed,
        known: Option<Validators>,
        kept: impl Future<Output = Option<Batch>> + Send,
    ) -> Result<Look, UpstreamError> {
        match &feed.form {
            Form::File(packing) => {
                let (folder, file) = feed.url.rsplit_once('/').unwrap_or((&feed.url, ""));
                file_at(&self.mirror(folder)?, file, *packing, known).await
            }
            Form::Bucket(ecosystem) => bucket::look(&self.mirror(&feed.url)?, *ecosystem, known, kept).await,
            Form::Bundle(wanted) => bundle::look(&self.bundle_of(&feed.url)?, wanted, known).await,
            Form::Folder(wanted) if feed.is_bundle(&self.mirror(&feed.url)?) => {
                bundle::look(&self.bundle_of(&feed.url)?, wanted, known).await
            }
            Form::Folder(wanted) => folder::look(&self.mirror(&feed.url)?, wanted, known).await,
        }
    }
}

impl Upstream {
    /// The bundle that a folder of shared data belongs to.
    fn bundle_of(&self, url: &str) -> Result<Bundle, UpstreamError> {
        let (root, _) = url.rsplit_once('/').unwrap_or((url, ""));
        Ok(Bundle::at(self.mirror(root)?))
    }
}

/// The advisories in a file that was fetched; the end of its name gives its form.
///
/// # Errors
/// Another form, or a damaged file.
pub fn of_file(file: &str, bytes: &[u8]) -> Result<Batch, String> {
    packed::unpack(Packing::of(file).ok_or("no file of advisories")?, file, bytes)
}

/// One file, and all that is in it.
async fn file_at(
    mirror: &Mirror,
    path: &str,
    packing: Packing,
    known: Option<Validators>,
) -> Result<Look, UpstreamError> {
    match mirror.fetch(Fetch { path, known, limit: FETCHED }).await? {
        Fetched::Unchanged => Ok(Look::Unchanged),
        Fetched::Body { bytes, validators } => {
            let name = path.to_owned();
            let unpacked = unpacked::aside(move || packed::unpack(packing, &name, &bytes)).await;
            let batch = unpacked.and_then(|batch| batch.checked().map_err(|bad| bad.to_string()));
            Ok(Look::Read(Box::new(batch.map_err(|reason| refused(mirror, path, reason))?), validators))
        }
    }
}

fn refused(mirror: &Mirror, path: &str, reason: String) -> UpstreamError {
    let address = mirror.address();
    UpstreamError::Refused {
        url: if path.is_empty() { address } else { format!("{address}/{path}") },
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_what_is_looked_at() {
        let names = |url: &str| {
            Feed::of(url, &[Ecosystem::Cran, Ecosystem::Pypi]).iter().map(Feed::name).collect::<Vec<_>>()
        };
        assert_eq!(names("https://u:p@h/osv/"), ["https://***@h/osv/CRAN", "https://***@h/osv/PyPI"]);
        assert_eq!(names("https://h/main.tar.gz"), ["https://h/main.tar.gz"]);
        assert_eq!(names("https://h/CRAN/all.zip"), ["https://h/CRAN/all.zip"]);
        assert_eq!(names("file:///srv/data/vulns/"), ["file:///srv/data/vulns"]);
        assert_eq!(names("file:///srv/all.ndjson.zst"), ["file:///srv/all.ndjson.zst"]);
    }
}
