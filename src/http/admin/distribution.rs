//! Distributions that binaries can be served for.

use super::call::{AdminResult, Call, ok};
use crate::http::platforms;

pub(super) async fn list(call: Call<'_>) -> AdminResult {
    ok(&platforms::list(&call.app.state.config.load().platforms))
}
