//! Bytes that own a guard, which is dropped with their last clone.

use bytes::Bytes;

struct Guarded<B, G> {
    bytes: B,
    _guard: G,
}

impl<B: AsRef<[u8]>, G> AsRef<[u8]> for Guarded<B, G> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// Returns `bytes` without a copy; `guard` is dropped with the last clone or slice of the result.
pub fn bytes_with<B, G>(bytes: B, guard: G) -> Bytes
where
    B: AsRef<[u8]> + Send + 'static,
    G: Send + 'static,
{
    Bytes::from_owner(Guarded { bytes, _guard: guard })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_guard_is_dropped_with_the_last_clone_or_slice() {
        let guard = Arc::new(());
        let bytes = bytes_with(vec![1, 2, 3], Arc::clone(&guard));
        let slice = bytes.slice(1..);
        drop(bytes);
        assert_eq!((slice.as_ref(), Arc::strong_count(&guard)), (&[2, 3][..], 2));
        drop(slice);
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}
