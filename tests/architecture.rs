//! The layer table as data: see `docs/architecture.md`.
