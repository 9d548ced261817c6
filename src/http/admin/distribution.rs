//! Distributions that binaries can be served for.

use super::call::{Answer, Call};
use crate::http::platforms;
use api::distribution::Distribution;

pub(super) async fn list(call: Call<'_>) -> Answer<Vec<Distribution>> {
    Ok(platforms::list(&call.app.state.config.load().platforms))
}
