//! Replays a product's segments in parallel into its current state.

use futures_util::{Stream, StreamExt, stream};

use super::error::OfflineError;
use super::workers::processors;
use formats::bundle::{Product, ProductState, Record, SegmentRef};
use upstream::origin::bundle::{Bundle, BundleError, VerifiedHead};

/// Reads the segments of a head and returns the resulting state; `visit` gets each record after the record was applied.
///
/// # Errors
/// A segment is missing or damaged, or records contradict each other.
pub(super) async fn replay(
    bundle: &Bundle,
    product: &Product,
    verified_head: &VerifiedHead,
    mut visit: impl FnMut(Record),
) -> Result<ProductState, OfflineError> {
    let segments = verified_head.since(0);
    let mut stream = read_segments(bundle, product, segments);
    let mut state = ProductState::default();
    while let Some((segment, records)) = stream.next().await {
        let is_last = segments.last() == Some(segment);
        for record in records? {
            // Applying a snapshot record compares the whole list of packages, which is slow. Snapshot records of
            // earlier segments are skipped: the list of the last segment includes all earlier changes.
            let is_skipped =
                matches!(&record, Record::Snapshot(snapshot) if snapshot.listing.is_none() && !is_last);
            if !is_skipped {
                state.apply(&record).map_err(|reason| {
                    let address = bundle.address();
                    OfflineError::Refused(format!("{address}/{}: {reason}", product.path(&segment.file.path)))
                })?;
            }
            visit(record);
        }
    }
    Ok(state)
}

/// Returns a stream of segments with their records, in order.
fn read_segments<'a>(
    bundle: &'a Bundle,
    product: &'a Product,
    segments: &'a [SegmentRef],
) -> impl Stream<Item = (&'a SegmentRef, Result<Vec<Record>, BundleError>)> + Send + Unpin {
    let read_segment = move |segment| async move { (segment, bundle.segment(product, segment).await) };
    stream::iter(segments).map(read_segment).buffered(processors())
}
