//! What the bundles hold that packages are served from, said once when the server starts.

use crate::bundle::{Head, Product};
use crate::model::time::Timestamp;
use crate::state::State;
use crate::upstream::Mirror;

/// Microseconds of a day.
const DAY: i64 = 86_400 * crate::model::time::SECOND;

/// Says it of every directory that is one. What cannot be read is a warning: the last good state is served.
pub(super) async fn tell(state: &State) {
    let config = state.config.load_full();
    let mut urls = vec![&config.cran.url];
    if config.bioconductor.url != config.cran.url {
        urls.push(&config.bioconductor.url);
    }
    for url in urls.into_iter().filter(|url| url.starts_with("file:")) {
        let Ok(mirror) = state.upstream.load_full().mirror(url) else { continue };
        tell_of(&mirror, (state.clock)()).await;
    }
}

async fn tell_of(mirror: &Mirror, now: Timestamp) {
    for (product, head) in mirror.heads().await {
        match head {
            Ok(head) => tracing::info!(target: "sync", "{}", sentence(&product, &head, now)),
            Err(error) => tracing::warn!(target: "sync", %error, "{product} of the bundle cannot be read"),
        }
    }
}

fn sentence(product: &Product, head: &Head, now: Timestamp) -> String {
    let age = now.0.saturating_sub(head.snapshot.start().0).div_euclid(DAY).max(0);
    let days = if age == 1 { "day" } else { "days" };
    format!(
        "The bundle has {product} of {}, {age} {days} old: {} packages (serial {})",
        head.snapshot, head.packages, head.serial
    )
}
