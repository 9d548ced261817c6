//! All records of a product, read on all processors and added up in their order.

use futures_util::{Stream, StreamExt, stream};

use super::error::OfflineError;
use super::workers::processors;
use crate::bundle::{Product, Record, SegmentRef, State};
use crate::upstream::bundle::{Bundle, BundleError, Verified};

/// Reads the segments of a head; `see` gets each record after it was added. Returns what they add up to.
///
/// # Errors
/// A segment that is not there or not whole, records that do not fit together.
pub(super) async fn sum(
    bundle: &Bundle,
    product: &Product,
    verified: &Verified,
    mut see: impl FnMut(Record),
) -> Result<State, OfflineError> {
    let segments = verified.since(0);
    let mut read = read(bundle, product, segments);
    let mut state = State::default();
    while let Some((segment, records)) = read.next().await {
        let is_last = segments.last() == Some(segment);
        for record in records? {
            // A listing is long to compare; the last one is compared, and has all that the ones before it had.
            let passed =
                matches!(&record, Record::Snapshot(snapshot) if snapshot.listing.is_none() && !is_last);
            if !passed {
                state.apply(&record).map_err(|reason| {
                    let address = bundle.mirror().address();
                    OfflineError::Refused(format!("{address}/{}: {reason}", product.path(&segment.file.path)))
                })?;
            }
            see(record);
        }
    }
    Ok(state)
}

/// Segments with their records, in their order.
fn read<'a>(
    bundle: &'a Bundle,
    product: &'a Product,
    segments: &'a [SegmentRef],
) -> impl Stream<Item = (&'a SegmentRef, Result<Vec<Record>, BundleError>)> + Send + Unpin {
    let read = move |segment| async move { (segment, bundle.segment(product, segment).await) };
    stream::iter(segments).map(read).buffered(processors())
}
