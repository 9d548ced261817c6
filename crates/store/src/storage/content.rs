//! The bytes of an object that was opened for reading.

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sha2::Digest;

use super::StorageError;
use base::model::digest::Sha256;

/// The bytes of an object, in memory or as a stream.
pub enum Content {
    /// The bytes of a small object, from the memory cache or read whole.
    Memory(Bytes),
    /// A stream of chunks, read on demand. Ends with an error unless exactly the requested bytes were read.
    Stream(BoxStream<'static, Result<Bytes, StorageError>>),
}

/// The digest and the size of the bytes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectDigest {
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
}

impl Content {
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, StorageError>> {
        match self {
            Content::Memory(bytes) => stream::iter([Ok(bytes)]).boxed(),
            Content::Stream(stream) => stream,
        }
    }

    /// Reads all bytes, passes them to `inspect`, and returns their digest.
    ///
    /// # Errors
    /// The errors of the storage and of `inspect`.
    pub async fn digest<E: From<StorageError>>(
        self,
        mut inspect: impl FnMut(&Bytes) -> Result<(), E>,
    ) -> Result<ObjectDigest, E> {
        let (mut hasher, mut size) = (sha2::Sha256::new(), 0);
        let mut stream = self.into_stream();
        while let Some(chunk) = stream.try_next().await? {
            hasher.update(&chunk);
            size += chunk.len() as u64;
            inspect(&chunk)?;
        }
        Ok(ObjectDigest { sha256: Sha256(hasher.finalize().into()), size })
    }
}
