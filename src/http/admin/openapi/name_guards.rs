//! The operations on name guards.

use utoipa::openapi::path::HttpMethod;

use super::Row;

/// The operations.
pub(super) const TABLE: &[Row] = &[
    (
        HttpMethod::Get,
        "/name-guards",
        "List name guards, also those that uploads created",
        None,
        Some("[NameGuard]"),
    ),
    (
        HttpMethod::Post,
        "/name-guards",
        "Create a name guard, or show what it would hide",
        Some("CreateNameGuard"),
        Some("CreatedNameGuard"),
    ),
    (
        HttpMethod::Patch,
        "/name-guards/{id}",
        "Change a name guard, or only return what that would change",
        Some("EditNameGuard"),
        Some("ChangedNameGuard"),
    ),
    (
        HttpMethod::Delete,
        "/name-guards/{id}",
        "Delete a name guard; with the parameter dry_run=true, only return what that would change",
        None,
        Some("ChangedNameGuard"),
    ),
    (
        HttpMethod::Get,
        "/audit/names",
        "List guarded names, overlaps with mirrors, similar names and suspicious versions",
        None,
        Some("[AuditedName]"),
    ),
];
