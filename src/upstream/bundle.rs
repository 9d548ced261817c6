//! A bundle, in a directory or behind a web server: its heads, segments, READMEs and shared data, verified before anything
//! of them is seen. `docs/bundle.md` is the specification; what the files hold, `crate::bundle` says.
//!
//! A server reads it like this: [`Bundle::head`]; if its serial is the one applied last, nothing is new. Else
//! [`Verified::since`] tells which segments to apply, [`Bundle::segment`] reads each, and all of them are read before the
//! first is applied: a bundle that is being copied is one whose files are not all there yet, and changes nothing
//! ([`BundleError::is_partial`]). Package files may come later still; [`Product::object`] says where they are.

use bytes::Bytes;

use super::{Fetch, Fetched, Mirror, UpstreamError, Validators};
use crate::bundle::segment::{self, ReadmeText};
use crate::bundle::shared::{BioconductorConfig, Shared, SharedHead};
use crate::bundle::{Base, Broken, Head, Packed, Product, Record, SegmentRef, layout, seal};
use crate::model::time::Day;

/// A head, in bytes.
const HEAD_LIMIT: u64 = 16 << 20;
/// A segment or a file of READMEs, in bytes as it lies there.
const PACKED_LIMIT: u64 = 512 << 20;
/// Differences upon differences.
const BASES: usize = 100;
/// How many days after the day that a difference names its base is looked for.
const DAYS: usize = 400;

/// Why a bundle cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BundleError {
    /// There is no such product.
    #[error(
        "{address} has no {product}: looked for {file}; get it with rspm-offline-downloader, and copy the whole directory"
    )]
    Absent {
        /// The bundle.
        address: String,
        /// What was looked for.
        product: String,
        /// Its file.
        file: String,
    },
    /// A file is missing: the bundle is being copied, or was not copied as a whole.
    #[error("{address}/{file} is missing: the copy is not complete yet; copy the whole directory again")]
    Missing {
        /// The bundle.
        address: String,
        /// The file.
        file: String,
    },
    /// A file is not what was written.
    #[error(
        "{address}/{file}: {broken}; copy it again, or run rspm-offline-downloader again where it was made"
    )]
    Broken {
        /// The bundle.
        address: String,
        /// The file.
        file: String,
        /// In which way.
        broken: Broken,
    },
    /// A difference without what it is a difference to.
    #[error(
        "{address} holds only what came after {snapshot} of {product}: copy it over the bundle whose snapshot is \
         {snapshot} or later (looked for {file} and the heads of the days after it)"
    )]
    NoBase {
        /// The bundle.
        address: String,
        /// The product.
        product: String,
        /// The day.
        snapshot: Day,
        /// Where the base would be.
        file: String,
    },
    /// It cannot be read at all.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl BundleError {
    /// Whether more of the bundle may still come: nothing is wrong with what is there.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        matches!(self, BundleError::Missing { .. } | BundleError::NoBase { .. })
    }
}

/// The text of a file while it is unpacked.
pub(super) type Unpacking<'a> = &'a mut dyn std::io::BufRead;

/// All of it.
fn whole(text: Unpacking<'_>) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    text.read_to_end(&mut bytes).map_err(segment::broken)?;
    Ok(bytes)
}

/// A head whose own bytes and whose chain are right, joined with those of its bases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The newest head. Its segments are those of all heads, the oldest first; a base that is missing is still named.
    pub head: Head,
    /// The day of a base that is missing.
    pub missing: Option<Base>,
}

impl Verified {
    /// The segments that a reader which has applied everything up to `serial` has not applied yet; all with 0.
    #[must_use]
    pub fn since(&self, serial: u64) -> &[SegmentRef] {
        let first = self.head.segments.partition_point(|segment| segment.serial <= serial);
        &self.head.segments[first..]
    }
}

/// What a look at the newest head found.
pub(super) enum Newest {
    /// As it was when the validators were given.
    Unchanged,
    /// What it says, and what to ask with the next time; nothing of a difference.
    Read { verified: Box<Verified>, validators: Option<Validators> },
}

/// What a look at shared data found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedLook {
    /// The bundle has none of it.
    Absent,
    /// As it was when the validators were given.
    Unchanged,
    /// The files, to be read with [`Bundle::shared_file`], and what to ask with the next time.
    Changed(Vec<Packed>, Validators),
}

/// A bundle; cloning is cheap.
#[derive(Clone)]
pub struct Bundle {
    mirror: Mirror,
}

impl Bundle {
    /// The bundle whose root is the root of a mirror. Looks at nothing yet.
    #[must_use]
    pub fn at(mirror: Mirror) -> Bundle {
        Bundle { mirror }
    }

    /// Where the files are.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Whether there is such a product at all.
    ///
    /// # Errors
    /// The bundle cannot be read.
    pub async fn has(&self, product: &Product) -> Result<bool, BundleError> {
        let Some((file, _)) = product.marker() else {
            return Ok(self.get(&product.head(), HEAD_LIMIT).await?.is_some());
        };
        // A web server may have a page for whatever is asked.
        let found = self.get(file, HEAD_LIMIT).await?;
        Ok(found.is_some_and(|text| text.trim_ascii().iter().all(u8::is_ascii_digit) && text.len() < 8))
    }

    /// The head of a product with its bases; a base that is missing is an error.
    ///
    /// # Errors
    /// It is not there, not whole, or not for this program.
    pub async fn head(&self, product: &Product) -> Result<Verified, BundleError> {
        self.joined(product, self.head_or_difference(product).await?)
    }

    /// A head none of whose bases is missing.
    pub(super) fn joined(&self, product: &Product, verified: Verified) -> Result<Verified, BundleError> {
        match verified.missing {
            None => Ok(verified),
            Some(Base { snapshot }) => Err(BundleError::NoBase {
                address: self.mirror.address(),
                product: product.to_string(),
                snapshot,
                file: product.head_of(snapshot, false),
            }),
        }
    }

    /// As [`Bundle::head`], and takes a difference for what it is.
    ///
    /// # Errors
    /// As [`Bundle::head`].
    pub async fn head_or_difference(&self, product: &Product) -> Result<Verified, BundleError> {
        match self.newest(product, None).await? {
            Newest::Read { verified, .. } => Ok(*verified),
            // Nothing was known.
            Newest::Unchanged => Err(self.absent(product)),
        }
    }

    /// As [`Bundle::head_or_difference`], unless the file is as it was when it had these validators.
    ///
    /// # Errors
    /// As [`Bundle::head`].
    pub(super) async fn newest(
        &self,
        product: &Product,
        known: Option<Validators>,
    ) -> Result<Newest, BundleError> {
        let file = product.head();
        let fetch = Fetch { path: &file, known, limit: HEAD_LIMIT };
        let (bytes, validators) = match self.mirror.fetch(fetch).await {
            Ok(Fetched::Body { bytes, validators }) => (bytes, validators),
            Ok(Fetched::Unchanged) => return Ok(Newest::Unchanged),
            Err(UpstreamError::Missing(_)) => return Err(self.absent(product)),
            Err(error) => return Err(error.into()),
        };
        let mut newest = self.read(&file, Head::read(&bytes, product))?;
        let (mut before, mut missing) = (newest.clone(), None);
        // What a difference goes on from is in other files, which may be replaced by themselves.
        let validators = newest.base.is_none().then_some(validators);
        for _ in 0..BASES {
            let Some(base) = before.base.clone() else { break };
            match self.base(product, &base, &before).await? {
                Some(found) => {
                    let serial = newest.segments.first().map_or(u64::MAX, |first| first.serial);
                    let older = found.segments.iter().filter(|segment| segment.serial < serial).cloned();
                    newest.segments = older.chain(newest.segments).collect();
                    before = found;
                }
                None => {
                    missing = Some(base);
                    break;
                }
            }
        }
        newest.base.clone_from(&before.base);
        newest.chain = Head::chain_of(&newest.segments);
        Ok(Newest::Read { verified: Box::new(Verified { head: newest, missing }), validators })
    }

    fn absent(&self, product: &Product) -> BundleError {
        let (address, file) = (self.mirror.address(), product.head());
        BundleError::Absent { address, product: product.to_string(), file }
    }

    /// The newest head from the day of a base on that is older than the difference.
    async fn base(
        &self,
        product: &Product,
        base: &Base,
        difference: &Head,
    ) -> Result<Option<Head>, BundleError> {
        let serial = difference.segments.first().map_or(0, |first| first.serial);
        let (mut found, mut day) = (None, base.snapshot);
        for _ in 0..DAYS {
            if day > difference.snapshot {
                break;
            }
            for file in [false, true].map(|is_difference| product.head_of(day, is_difference)) {
                let Some(bytes) = self.get(&file, HEAD_LIMIT).await? else { continue };
                let head = self.read(&file, Head::read(&bytes, product))?;
                let newer = found.as_ref().is_none_or(|found: &Head| found.serial < head.serial);
                if head.serial < serial && newer {
                    found = Some(head);
                }
            }
            day = day.end().day();
        }
        Ok(found)
    }

    /// The records of a segment, in order.
    ///
    /// # Errors
    /// It is not there, or not whole.
    pub async fn segment(&self, product: &Product, segment: &SegmentRef) -> Result<Vec<Record>, BundleError> {
        let (product, serial) = (product.clone(), segment.serial);
        let path = product.path(&segment.file.path);
        self.unpacked(&path, &segment.file, move |text| segment::records(text, &product, serial)).await
    }

    /// Hands the records of a segment to `take`, one after the other, off the async threads; `into` is what comes of them.
    ///
    /// # Errors
    /// As [`Bundle::segment`]; what `take` says of a record counts as damage.
    pub(super) async fn gather<T: Send + 'static>(
        &self,
        product: &Product,
        segment: &SegmentRef,
        mut into: T,
        take: fn(&mut T, Record) -> Result<(), String>,
    ) -> Result<T, BundleError> {
        let (of, serial) = (product.clone(), segment.serial);
        let parse = move |text: Unpacking<'_>| {
            segment::each(text, &of, serial, |record| take(&mut into, record)).map(|()| into)
        };
        self.unpacked(&product.path(&segment.file.path), &segment.file, parse).await
    }

    /// The READMEs of a segment.
    ///
    /// # Errors
    /// As [`Bundle::segment`].
    pub async fn readmes(
        &self,
        product: &Product,
        segment: &SegmentRef,
    ) -> Result<Vec<ReadmeText>, BundleError> {
        let Some(packed) = &segment.readmes else { return Ok(Vec::new()) };
        self.unpacked(&product.path(&packed.path), packed, |text| segment::readmes(text)).await
    }

    /// The head of shared data; `None` when the bundle has none of it.
    ///
    /// # Errors
    /// It is not whole.
    pub async fn shared(&self, shared: Shared) -> Result<Option<SharedHead>, BundleError> {
        let file = format!("{}/{}", shared.folder(), layout::HEAD);
        match self.get(&file, HEAD_LIMIT).await? {
            None => Ok(None),
            Some(bytes) => self.read(&file, SharedHead::read(&bytes, shared)).map(Some),
        }
    }

    /// Which files of shared data go by these names; those that there are not are passed over.
    ///
    /// # Errors
    /// The head is not whole.
    pub async fn shared_look<'a>(
        &self,
        shared: Shared,
        names: impl IntoIterator<Item = &'a str>,
        known: Option<&Validators>,
    ) -> Result<SharedLook, BundleError> {
        let Some(head) = self.shared(shared).await? else { return Ok(SharedLook::Absent) };
        let files: Vec<Packed> = names.into_iter().filter_map(|name| head.files.get(name)).cloned().collect();
        // A file has its digest for a name: the same digests are the same data.
        let digests: Vec<String> = files.iter().map(|packed| packed.sha256.to_string()).collect();
        let validators = Validators { etag: Some(digests.join(" ")), modified: None };
        let unchanged = known == Some(&validators);
        Ok(if unchanged { SharedLook::Unchanged } else { SharedLook::Changed(files, validators) })
    }

    /// A file of shared data, unpacked.
    ///
    /// # Errors
    /// As [`Bundle::segment`].
    pub async fn shared_file(&self, shared: Shared, packed: &Packed) -> Result<Vec<u8>, BundleError> {
        self.unpacked(&format!("{}/{}", shared.folder(), packed.path), packed, whole).await
    }

    /// Which versions of Bioconductor there are; `None` when the bundle was made without.
    ///
    /// # Errors
    /// It is not whole.
    pub async fn bioconductor(&self) -> Result<Option<BioconductorConfig>, BundleError> {
        match self.get(layout::BIOCONDUCTOR_CONFIG, HEAD_LIMIT).await? {
            None => Ok(None),
            Some(bytes) => self.read(layout::BIOCONDUCTOR_CONFIG, seal::open(&bytes)).map(Some),
        }
    }

    pub(super) async fn unpacked<T: Send + 'static>(
        &self,
        path: &str,
        packed: &Packed,
        parse: impl FnOnce(Unpacking<'_>) -> Result<T, Broken> + Send + 'static,
    ) -> Result<T, BundleError> {
        let Some(bytes) = self.get(path, PACKED_LIMIT).await? else {
            return Err(BundleError::Missing { address: self.mirror.address(), file: path.to_owned() });
        };
        let packed = packed.clone();
        let work = move || parse(&mut segment::unpacking(&bytes, &packed)?);
        let done = tokio::task::spawn_blocking(work).await;
        self.read(path, done.unwrap_or_else(|_| Err(Broken::Damaged("its reading was given up".to_owned()))))
    }

    fn read<T>(&self, file: &str, read: Result<T, Broken>) -> Result<T, BundleError> {
        let address = self.mirror.address();
        read.map_err(|broken| BundleError::Broken { address, file: file.to_owned(), broken })
    }

    async fn get(&self, path: &str, limit: u64) -> Result<Option<Bytes>, BundleError> {
        match self.mirror.fetch(Fetch { path, known: None, limit }).await {
            Ok(Fetched::Body { bytes, .. }) => Ok(Some(bytes)),
            Ok(Fetched::Unchanged) | Err(UpstreamError::Missing(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
