//! Reads bundles, in a directory or over HTTP: heads, segments, READMEs and shared data, each verified before use.
//! `docs/bundle.md` is the specification; `formats::bundle` defines the contents of the files.
//!
//! A server compares the serial of [`Bundle::head`] with the last one it applied. If it is newer,
//! [`VerifiedHead::since`] lists the segments to apply, which [`Bundle::segment`] reads. All of them are read before
//! the first is applied: a bundle that is being copied lacks files, and must change nothing
//! ([`BundleError::is_partial`]). Package files, at [`Product::object_path`], may arrive even later.

use std::sync::Arc;

use bytes::Bytes;

use crate::UpstreamError;
use crate::transport::Transport;
use crate::transport::file::{FileRequest, FileResponse, Validators};
use base::model::time::Day;
use formats::bundle::segment::{self, ReadmeText};
use formats::bundle::shared::{BioconductorConfig, SharedFolder, SharedHead};
use formats::bundle::{
    CompressedFile, FormatError, Head, IncrementalBase, Product, Record, SegmentRef, layout, note,
    self_digest,
};
use formats::tlog::note::VerifierKey;

/// Size limit of a head, in bytes.
const MAX_HEAD_SIZE: u64 = 16 << 20;
/// Size limit of the note that signs a file, in bytes.
const MAX_NOTE_SIZE: u64 = 64 << 10;
/// Size limit of a packed segment or file of READMEs, in bytes.
const MAX_COMPRESSED_SIZE: u64 = 512 << 20;
/// Maximum number of chained incremental bundles.
const MAX_BASES: usize = 100;
/// Number of days in which the base of an incremental bundle is searched, from the day that the bundle names.
const MAX_BASE_DAYS: usize = 400;

#[derive(Clone, Debug, thiserror::Error)]
pub enum BundleError {
    #[error(
        "{address} has no {product}: looked for {file}; get it with rspm-offline-downloader, and copy the whole directory"
    )]
    Absent {
        address: String,
        product: String,
        /// The file that was tried.
        file: String,
    },
    /// A file is missing: the bundle is being copied, or was copied incompletely.
    #[error("{address}/{file} is missing: the copy is not complete yet; copy the whole directory again")]
    Missing { address: String, file: String },
    /// The note that signs a head is missing, although a signature is required.
    #[error(
        "{address}/{file}: it signs {signed} and is missing: the copy is not complete yet, or the bundle is not signed \
         (rspm-offline-downloader sign); nothing of it is used"
    )]
    Unsigned {
        address: String,
        /// The path of the note.
        file: String,
        signed: String,
    },
    /// A file differs from what was written.
    #[error(
        "{address}/{file}: {damage}; copy it again, or run rspm-offline-downloader again where it was made"
    )]
    Damaged { address: String, file: String, damage: FormatError },
    /// An incremental bundle without its base.
    #[error(
        "{address} has only the changes after {snapshot} of {product}: copy it over the bundle whose snapshot is \
         {snapshot} or later (looked for {file} and the heads of the days after it)"
    )]
    NoBase { address: String, product: String, snapshot: Day, file: String },
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl BundleError {
    /// Returns whether the bundle may be completed later: the existing files are valid.
    pub fn is_partial(&self) -> bool {
        matches!(
            self,
            BundleError::Missing { .. } | BundleError::Unsigned { .. } | BundleError::NoBase { .. }
        )
    }
}

/// The unpacked text of a file, as a stream.
pub(super) type UnpackedText<'a> = &'a mut dyn std::io::BufRead;

fn read_text(text: UnpackedText<'_>) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    text.read_to_end(&mut bytes).map_err(segment::format_error)?;
    Ok(bytes)
}

/// A head with valid digest and chain, joined with the heads of its bases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedHead {
    /// The newest head with the segments of all heads, oldest first. Its `base` is the missing base, if any.
    pub head: Head,
    /// The missing base; `None` if the segments are complete.
    pub missing_base: Option<IncrementalBase>,
}

impl VerifiedHead {
    /// Returns the segments after `serial`, the last one that the reader applied; all segments for 0.
    pub fn since(&self, serial: u64) -> &[SegmentRef] {
        let first_index = self.head.segments.partition_point(|segment| segment.serial <= serial);
        &self.head.segments[first_index..]
    }
}

pub(super) enum HeadCheck {
    /// Unchanged since the given validators.
    Unchanged,
    /// The head, and its validators; `None` for an incremental bundle, whose head is read again each time.
    Read { verified_head: Box<VerifiedHead>, validators: Option<Validators> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedCheck {
    Absent,
    /// Unchanged since the given validators.
    Unchanged,
    /// The files, to be read with [`Bundle::shared_file`], and the new validators.
    Changed(Vec<CompressedFile>, Validators),
}

/// A bundle; cloning is cheap.
#[derive(Clone)]
pub struct Bundle {
    transport: Transport,
    /// The keys one of which must have signed each head; empty if bundles need no signature.
    keys: Arc<[VerifierKey]>,
}

impl Bundle {
    /// Creates the bundle with the files of this transport; nothing is read yet.
    pub(crate) fn at(transport: Transport) -> Bundle {
        Bundle { transport, keys: Arc::default() }
    }

    /// Returns the same bundle for a reader that uses nothing of it that none of the keys signed. Without keys, it needs no
    /// signature.
    pub fn requiring(self, keys: Arc<[VerifierKey]>) -> Bundle {
        Bundle { keys, ..self }
    }

    pub(super) fn is_signed(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Verifies that one of the keys signed a file that ends with its own digest, if that is required.
    pub async fn check_signature(&self, file: &str, bytes: &[u8]) -> Result<(), BundleError> {
        if !self.is_signed() {
            return Ok(());
        }
        let key = self.signer(file, bytes).await?;
        let path = layout::note_path(file, self_digest::digest(bytes));
        let untrusted =
            FormatError::Damaged(format!("signed by {key}, which is not one of the required keys"));
        self.add_location(&path, if self.keys.contains(&key) { Ok(()) } else { Err(untrusted) })
    }

    /// Returns the key that signed such a file, whether or not it is one of the required keys.
    async fn signer(&self, file: &str, bytes: &[u8]) -> Result<VerifierKey, BundleError> {
        let path = layout::note_path(file, self_digest::digest(bytes));
        let Some(note) = self.get(&path, MAX_NOTE_SIZE).await? else {
            let (address, signed) = (self.address(), file.to_owned());
            return Err(BundleError::Unsigned { address, file: path, signed });
        };
        self.add_location(&path, note::signer(&note, bytes))
    }

    /// Returns the key that signed the head of a product, whether or not it is one of the required keys; `None` without a
    /// valid signature.
    pub async fn signer_of(&self, product: &Product) -> Option<VerifierKey> {
        let file = product.head_path();
        let bytes = self.get(&file, MAX_HEAD_SIZE).await.ok()??;
        self.signer(&file, &bytes).await.ok()
    }

    /// Fails for a signed head with a lower serial than the one that was read before: a copy of an earlier one.
    pub(super) fn refuse_older(
        &self,
        product: &Product,
        head: &Head,
        known_serial: Option<u64>,
    ) -> Result<(), BundleError> {
        match known_serial.filter(|known| self.is_signed() && head.serial < *known) {
            None => Ok(()),
            Some(known) => {
                let problem = format!("its serial {} is older than {known}, which was applied", head.serial);
                self.add_location(&product.head_path(), Err(FormatError::Damaged(problem)))
            }
        }
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Returns the address for messages, without user and password.
    pub fn address(&self) -> String {
        self.transport.address()
    }

    pub async fn has(&self, product: &Product) -> Result<bool, BundleError> {
        let Some((file, _)) = product.marker() else {
            return Ok(self.get(&product.head_path(), MAX_HEAD_SIZE).await?.is_some());
        };
        // A web server may answer every path with a page.
        let text = self.get(&file, MAX_HEAD_SIZE).await?;
        Ok(text.is_some_and(|text| text.trim_ascii().iter().all(u8::is_ascii_digit) && text.len() < 8))
    }

    /// Returns the head of a product, joined with its bases; a missing base is an error.
    pub async fn head(&self, product: &Product) -> Result<VerifiedHead, BundleError> {
        self.require_bases(product, self.head_or_incremental(product).await?)
    }

    /// Returns the head, or an error if a base is missing.
    pub(super) fn require_bases(
        &self,
        product: &Product,
        verified_head: VerifiedHead,
    ) -> Result<VerifiedHead, BundleError> {
        match verified_head.missing_base {
            None => Ok(verified_head),
            Some(IncrementalBase { snapshot }) => Err(BundleError::NoBase {
                address: self.address(),
                product: product.to_string(),
                snapshot,
                file: product.dated_head_path(snapshot, false),
            }),
        }
    }

    /// As [`Bundle::head`], but accepts an incremental bundle without its base.
    pub async fn head_or_incremental(&self, product: &Product) -> Result<VerifiedHead, BundleError> {
        match self.check_head(product, None).await? {
            HeadCheck::Read { verified_head, .. } => Ok(*verified_head),
            // The request was unconditional.
            HeadCheck::Unchanged => Err(self.absent(product)),
        }
    }

    /// As [`Bundle::head_or_incremental`], unless the file is unchanged since the given validators.
    pub(super) async fn check_head(
        &self,
        product: &Product,
        known_validators: Option<Validators>,
    ) -> Result<HeadCheck, BundleError> {
        let file = product.head_path();
        let request = FileRequest { path: &file, validators: known_validators, limit: MAX_HEAD_SIZE };
        let (bytes, validators) = match self.transport.fetch(request).await {
            Ok(FileResponse::Body { bytes, validators }) => (bytes, validators),
            Ok(FileResponse::Unchanged) => return Ok(HeadCheck::Unchanged),
            Err(UpstreamError::Missing(_)) => return Err(self.absent(product)),
            Err(error) => return Err(error.into()),
        };
        let mut newest_head = self.add_location(&file, Head::read(&bytes, product))?;
        self.check_signature(&file, &bytes).await?;
        let (mut oldest_head, mut missing_base) = (newest_head.clone(), None);
        // The bases of an incremental bundle are separate files, which may change without it.
        let validators = newest_head.base.is_none().then_some(validators);
        for _ in 0..MAX_BASES {
            let Some(base) = oldest_head.base.clone() else { break };
            match self.base(product, &base, &oldest_head).await? {
                Some(base_head) => {
                    let serial = newest_head.segments.first().map_or(u64::MAX, |first| first.serial);
                    let older_segments =
                        base_head.segments.iter().filter(|segment| segment.serial < serial).cloned();
                    newest_head.segments = older_segments.chain(newest_head.segments).collect();
                    oldest_head = base_head;
                }
                None => {
                    missing_base = Some(base);
                    break;
                }
            }
        }
        newest_head.base.clone_from(&oldest_head.base);
        newest_head.chain = Head::chain_of(&newest_head.segments);
        Ok(HeadCheck::Read {
            verified_head: Box::new(VerifiedHead { head: newest_head, missing_base }),
            validators,
        })
    }

    fn absent(&self, product: &Product) -> BundleError {
        let (address, file) = (self.address(), product.head_path());
        BundleError::Absent { address, product: product.to_string(), file }
    }

    /// Returns the newest head, from the day of the base on, that is older than the incremental bundle.
    async fn base(
        &self,
        product: &Product,
        base: &IncrementalBase,
        incremental: &Head,
    ) -> Result<Option<Head>, BundleError> {
        let serial = incremental.segments.first().map_or(0, |first| first.serial);
        let (mut newest_base, mut day) = (None, base.snapshot);
        for _ in 0..MAX_BASE_DAYS {
            if day > incremental.snapshot {
                break;
            }
            for file in [false, true].map(|is_incremental| product.dated_head_path(day, is_incremental)) {
                let Some(bytes) = self.get(&file, MAX_HEAD_SIZE).await? else { continue };
                let head = self.add_location(&file, Head::read(&bytes, product))?;
                self.check_signature(&file, &bytes).await?;
                let is_newer =
                    newest_base.as_ref().is_none_or(|newest_base: &Head| newest_base.serial < head.serial);
                if head.serial < serial && is_newer {
                    newest_base = Some(head);
                }
            }
            day = day.end().day();
        }
        Ok(newest_base)
    }

    /// Returns the records of a segment, in order.
    pub async fn segment(&self, product: &Product, segment: &SegmentRef) -> Result<Vec<Record>, BundleError> {
        let (product, serial) = (product.clone(), segment.serial);
        let path = product.path(&segment.file.path);
        self.read_compressed(&path, &segment.file, move |text| segment::records(text, &product, serial)).await
    }

    /// Passes the records of a segment to `add`, one by one, on a blocking thread; returns the accumulator. Fails as
    /// [`Bundle::segment`]; an error of `add` counts as damage.
    pub(super) async fn fold_records<T: Send + 'static>(
        &self,
        product: &Product,
        segment: &SegmentRef,
        mut accumulator: T,
        add: fn(&mut T, Record) -> Result<(), String>,
    ) -> Result<T, BundleError> {
        let (owned_product, serial) = (product.clone(), segment.serial);
        let parse = move |text: UnpackedText<'_>| {
            segment::for_each_record(text, &owned_product, serial, |record| add(&mut accumulator, record))
                .map(|()| accumulator)
        };
        self.read_compressed(&product.path(&segment.file.path), &segment.file, parse).await
    }

    pub async fn readmes(
        &self,
        product: &Product,
        segment: &SegmentRef,
    ) -> Result<Vec<ReadmeText>, BundleError> {
        let Some(compressed_file) = &segment.readmes else { return Ok(Vec::new()) };
        self.read_compressed(&product.path(&compressed_file.path), compressed_file, |text| {
            segment::readmes(text)
        })
        .await
    }

    /// Returns the head of shared data; `None` if the bundle does not have it.
    pub async fn shared_head(&self, shared_folder: SharedFolder) -> Result<Option<SharedHead>, BundleError> {
        let file = format!("{}/{}", shared_folder.folder(), layout::HEAD);
        let Some(bytes) = self.get(&file, MAX_HEAD_SIZE).await? else { return Ok(None) };
        let head = self.add_location(&file, SharedHead::read(&bytes, shared_folder))?;
        self.check_signature(&file, &bytes).await?;
        Ok(Some(head))
    }

    /// Returns the files of shared data with these names, unless they are unchanged; missing ones are skipped.
    pub async fn check_shared<'a>(
        &self,
        shared_folder: SharedFolder,
        names: impl IntoIterator<Item = &'a str>,
        known_validators: Option<&Validators>,
    ) -> Result<SharedCheck, BundleError> {
        let Some(head) = self.shared_head(shared_folder).await? else { return Ok(SharedCheck::Absent) };
        let files: Vec<CompressedFile> =
            names.into_iter().filter_map(|name| head.files.get(name)).cloned().collect();
        // Files are named by digest: equal digests mean equal data.
        let digests: Vec<String> = files.iter().map(|file| file.sha256.to_string()).collect();
        let modified = self.is_signed().then(|| head.created.to_string());
        let known_modified = known_validators.and_then(|known| known.modified.as_ref());
        // Times of this form have the order of their texts.
        if let Some(known) = known_modified.filter(|known| modified.as_ref().is_some_and(|new| new < *known))
        {
            let file = format!("{}/{}", shared_folder.folder(), layout::HEAD);
            let problem =
                format!("it was written at {}, before the one of {known} that was applied", head.created);
            return self.add_location(&file, Err(FormatError::Damaged(problem)));
        }
        let validators = Validators { etag: Some(digests.join(" ")), modified };
        let is_unchanged = known_validators == Some(&validators);
        Ok(if is_unchanged { SharedCheck::Unchanged } else { SharedCheck::Changed(files, validators) })
    }

    pub async fn shared_file(
        &self,
        shared_folder: SharedFolder,
        compressed_file: &CompressedFile,
    ) -> Result<Vec<u8>, BundleError> {
        self.read_compressed(
            &format!("{}/{}", shared_folder.folder(), compressed_file.path),
            compressed_file,
            read_text,
        )
        .await
    }

    /// Returns the Bioconductor versions; `None` if the bundle was made without them.
    pub async fn bioconductor(&self) -> Result<Option<BioconductorConfig>, BundleError> {
        let file = layout::BIOCONDUCTOR_CONFIG;
        let Some(bytes) = self.get(file, MAX_HEAD_SIZE).await? else { return Ok(None) };
        let config = self.add_location(file, self_digest::parse(&bytes))?;
        self.check_signature(file, &bytes).await?;
        Ok(Some(config))
    }

    pub(super) async fn read_compressed<T: Send + 'static>(
        &self,
        path: &str,
        compressed_file: &CompressedFile,
        parse: impl FnOnce(UnpackedText<'_>) -> Result<T, FormatError> + Send + 'static,
    ) -> Result<T, BundleError> {
        let Some(bytes) = self.get(path, MAX_COMPRESSED_SIZE).await? else {
            return Err(BundleError::Missing { address: self.address(), file: path.to_owned() });
        };
        let compressed_file = compressed_file.clone();
        let work = move || parse(&mut segment::unpack_reader(&bytes, &compressed_file)?);
        let result = tokio::task::spawn_blocking(work).await;
        self.add_location(
            path,
            result.unwrap_or_else(|_| Err(FormatError::Damaged("reading was cancelled".to_owned()))),
        )
    }

    /// Adds the address of the bundle and the path of the file to an error.
    fn add_location<T>(&self, file: &str, result: Result<T, FormatError>) -> Result<T, BundleError> {
        let address = self.address();
        result.map_err(|damage| BundleError::Damaged { address, file: file.to_owned(), damage })
    }

    async fn get(&self, path: &str, limit: u64) -> Result<Option<Bytes>, BundleError> {
        match self.transport.fetch(FileRequest { path, validators: None, limit }).await {
            Ok(FileResponse::Body { bytes, .. }) => Ok(Some(bytes)),
            Ok(FileResponse::Unchanged) | Err(UpstreamError::Missing(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
