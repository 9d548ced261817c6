//! The operations on promotions.

use utoipa::openapi::path::HttpMethod;

use super::Row;

/// The operations.
pub(super) const TABLE: &[Row] = &[
    (
        HttpMethod::Post,
        "/repos/{name}/promotions",
        "Plan or request a promotion to a repository; applied at once unless another person must approve it",
        Some("RequestPromotion"),
        Some("RequestedPromotion"),
    ),
    (
        HttpMethod::Get,
        "/promotions",
        "List promotions, the newest first; parameters repo and state",
        None,
        Some("[Promotion]"),
    ),
    (
        HttpMethod::Get,
        "/promotions/{id}",
        "Show a promotion and what it changed or would change",
        None,
        Some("Promotion"),
    ),
    (
        HttpMethod::Post,
        "/promotions/{id}/approve",
        "Approve and apply a requested promotion",
        Some("DecidePromotion"),
        Some("Promotion"),
    ),
    (
        HttpMethod::Post,
        "/promotions/{id}/reject",
        "Reject a requested promotion",
        Some("DecidePromotion"),
        Some("Promotion"),
    ),
];
