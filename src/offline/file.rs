//! One file: pulled from the mirror, compared with what is told of it, looked into, and put under its digest.

use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use md5::Md5 as Md5Hasher;
use sha2::{Digest, Sha256 as Hasher};
use tempfile::NamedTempFile;

use super::contents::{self, Contents};
use super::place::{self, Place};
use super::plan::Wanted;
use crate::bundle::{Object, Product};
use crate::model::digest::{Md5, Sha256};
use crate::r::archive::Limits;
use crate::r::binary;
use crate::r::layout::PackageFile;
use crate::r::platform::Platform;
use crate::upstream::{Mirror, Taker, UpstreamError};

/// Bytes of a file that are held before they are written.
const HELD: usize = 4 << 20;

/// Why a file is not there in the end.
#[derive(Debug)]
pub(super) enum Failure {
    /// The mirror: this file is passed over.
    Mirror(UpstreamError),
    /// The destination: nothing can be done any more.
    Place(io::Error, PathBuf),
}

/// A file that is there now.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) object: Object,
    pub(super) contents: Contents,
}

/// Where files go.
pub(super) struct Landing<'a> {
    pub(super) place: &'a Place,
    pub(super) product: &'a Product,
}

impl Landing<'_> {
    /// Fetches a file from the first of its paths that has it.
    pub(super) async fn fetch(&self, mirror: &Mirror, wanted: &Wanted) -> Result<Fetched, Failure> {
        let row = &wanted.row;
        let mut last = None;
        for path in &row.paths {
            let mut body = Body::new(self.place.path(&self.product.objects()));
            match mirror.pull(path, row.size, &mut body).await {
                Ok(_) => match self.land(body, wanted, path, mirror).await {
                    // The index may be ahead of the file, or behind it: it may be in the other place.
                    Err(Failure::Mirror(error)) => last = Some(error),
                    landed => return landed,
                },
                Err(error) => match body.failed {
                    Some(error) => return Err(Failure::Place(error, body.dir)),
                    None => {
                        let missing = matches!(error, UpstreamError::Missing(_));
                        let stop = matches!(error, UpstreamError::Unavailable { .. });
                        if last.is_none() || !missing {
                            last = Some(error);
                        }
                        if stop {
                            break;
                        }
                    }
                },
            }
        }
        let none = || UpstreamError::Missing(row.paths.join(" or "));
        Err(Failure::Mirror(last.unwrap_or_else(none)))
    }

    async fn land(
        &self,
        body: Body,
        wanted: &Wanted,
        path: &str,
        mirror: &Mirror,
    ) -> Result<Fetched, Failure> {
        let (place, product, wanted) = (self.place.clone(), self.product.clone(), wanted.clone());
        let url = format!("{}/{path}", mirror.address());
        let work = tokio::task::spawn_blocking(move || settle(body, &place, &product, &wanted, url));
        work.await.unwrap_or_else(|e| Err(Failure::Place(io::Error::other(e), PathBuf::new())))
    }
}

/// The bytes of a file while they come.
struct Body {
    dir: PathBuf,
    held: Vec<u8>,
    spill: Option<Spill>,
    failed: Option<io::Error>,
}

/// What is too large to be held.
struct Spill {
    file: NamedTempFile,
    size: u64,
    sha256: Hasher,
    md5: Md5Hasher,
}

impl Body {
    fn new(dir: PathBuf) -> Body {
        Body { dir, held: Vec::new(), spill: None, failed: None }
    }

    /// Writes and digests what is held.
    fn spill(&mut self) -> io::Result<()> {
        let mut spill = match self.spill.take() {
            Some(spill) => spill,
            None => Spill {
                file: std::fs::create_dir_all(&self.dir).and_then(|()| Place::unfinished(&self.dir))?,
                size: 0,
                sha256: Hasher::new(),
                md5: Md5Hasher::new(),
            },
        };
        spill.file.write_all(&self.held)?;
        spill.sha256.update(&self.held);
        spill.md5.update(&self.held);
        spill.size += self.held.len() as u64;
        self.held.clear();
        self.spill = Some(spill);
        Ok(())
    }
}

impl Taker for Body {
    fn restart(&mut self) {
        self.held.clear();
        self.spill = None;
    }

    async fn take(&mut self, piece: Bytes) -> Result<(), UpstreamError> {
        self.held.extend_from_slice(&piece);
        if self.held.len() < HELD {
            return Ok(());
        }
        let mut moved = Body {
            dir: self.dir.clone(),
            held: std::mem::take(&mut self.held),
            spill: self.spill.take(),
            failed: None,
        };
        let spilt = tokio::task::spawn_blocking(move || {
            let done = moved.spill();
            (moved, done)
        });
        let done = match spilt.await {
            Ok((moved, done)) => {
                (self.held, self.spill) = (moved.held, moved.spill);
                done
            }
            Err(e) => Err(io::Error::other(e)),
        };
        done.map_err(|e| {
            // The pull ends; whoever asked finds the error itself here.
            let told = UpstreamError::Refused { url: self.dir.display().to_string(), reason: e.to_string() };
            self.failed = Some(e);
            told
        })
    }
}

/// The digests of what came, and whether it is what was asked for.
fn settle(
    mut body: Body,
    place: &Place,
    product: &Product,
    wanted: &Wanted,
    url: String,
) -> Result<Fetched, Failure> {
    if body.spill.is_some() && !body.held.is_empty() {
        let dir = body.dir.clone();
        body.spill().map_err(|e| Failure::Place(e, dir))?;
    }
    let (sha256, md5, size) = match &body.spill {
        Some(spill) => (spill.sha256.clone().finalize(), spill.md5.clone().finalize(), spill.size),
        None => (Hasher::digest(&body.held), Md5Hasher::digest(&body.held), body.held.len() as u64),
    };
    let row = &wanted.row;
    let object = Object { sha256: Sha256(sha256.into()), size, md5: Md5(md5.into()), ext: row.ext.clone() };
    if let Some(reason) = mismatch(&object, wanted) {
        return Err(Failure::Mirror(UpstreamError::Refused { url, reason }));
    }
    let path = place.path(&product.object(object.sha256, &object.ext));
    let failed = |e: io::Error| Failure::Place(e, path.clone());
    let look = row.told.is_none() && wanted.again.is_none();
    if let (Product::Binaries(tag), true) = (product, look) {
        is_build(&body, tag, wanted)
            .map_err(|reason| Failure::Mirror(UpstreamError::Refused { url, reason }))?;
    }
    let contents = match (&body.spill, product) {
        (_, Product::Binaries(_)) => Contents::default(),
        _ if !look => Contents::default(),
        (Some(spill), _) => contents::read(|| spill.file.reopen(), &file_name(wanted)),
        (None, _) => contents::read(|| Ok(Cursor::new(&body.held)), &file_name(wanted)),
    };
    store(body, &path, &object, wanted).map_err(failed)?;
    Ok(Fetched { object, contents })
}

/// Indexes of builds often have no checksum, so the file itself must tell that it is one, to its last byte.
fn is_build(body: &Body, tag: &str, wanted: &Wanted) -> Result<(), String> {
    let (file, Some(platform)) = (file_name(wanted), Platform::parse(tag)) else {
        return Err(format!("'{tag}' is no platform"));
    };
    let name = PackageFile::parse(&file).ok_or_else(|| format!("'{file}' is no name of a package file"))?;
    let checked = match &body.spill {
        Some(spill) => binary::require(|| spill.file.reopen(), name, &platform, Limits::default()),
        None => binary::require(|| Ok(Cursor::new(&body.held)), name, &platform, Limits::default()),
    };
    checked.map(drop).map_err(|e| e.to_string())
}

fn file_name(wanted: &Wanted) -> String {
    format!("{}_{}.{}", wanted.row.name, wanted.row.version, wanted.row.ext)
}

fn mismatch(object: &Object, wanted: &Wanted) -> Option<String> {
    let row = &wanted.row;
    if let Some(size) = row.size.filter(|size| *size != object.size) {
        return Some(format!("has {} bytes and not the {size} that the mirror tells", object.size));
    }
    if let Some(sha256) = wanted.again.or(row.sha256).filter(|sha256| *sha256 != object.sha256) {
        return Some(format!(
            "its sha256 is {} and not {sha256}: the file was changed on the mirror or on the way",
            object.sha256
        ));
    }
    let md5 = row.md5.filter(|md5| *md5 != object.md5)?;
    Some(format!(
        "its MD5 is {} and not the {md5} of the index: the mirror is being updated, or the file is damaged",
        object.md5
    ))
}

fn store(mut body: Body, path: &std::path::Path, object: &Object, wanted: &Wanted) -> io::Result<()> {
    // The same bytes may be there under another name of a package.
    if path.symlink_metadata().is_ok_and(|there| there.is_file() && there.len() == object.size)
        && wanted.again.is_none()
        && digest_of(path).is_ok_and(|sha256| sha256 == object.sha256)
    {
        return Ok(());
    }
    let dir = path.parent().map(PathBuf::from).unwrap_or_default();
    let file = match body.spill.take() {
        Some(spill) => {
            std::fs::create_dir_all(&dir)?;
            spill.file
        }
        None => {
            let mut file = match Place::unfinished(&dir) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    std::fs::create_dir_all(&dir)?;
                    Place::unfinished(&dir)?
                }
                made => made?,
            };
            file.write_all(&body.held)?;
            file
        }
    };
    place::date(file.as_file(), wanted.row.published);
    place::finish(file, path)
}

/// The digest of a file.
pub(super) fn digest_of(path: &std::path::Path) -> io::Result<Sha256> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(Sha256(hasher.finalize().into()));
        }
        hasher.update(&buffer[..n]);
    }
}
