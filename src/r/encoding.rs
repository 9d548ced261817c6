//! The `Encoding` field: bytes of a DESCRIPTION to UTF-8.
