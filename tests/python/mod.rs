//! Python packages: the formats of every page and file of a mirror, local sources, the public API, and clients that
//! install from them.

mod api;
mod archives;
mod bad_pages;
mod bandersnatch;
mod block_rules;
pub(crate) mod clients;
mod compression;
mod curated;
mod curated_dependencies;
mod curated_plans;
pub(crate) mod flask;
pub(crate) mod form;
mod history;
pub(crate) mod index;
mod index_ages;
mod index_changes;
mod index_history;
mod index_servers;
mod local;
mod lockers;
mod mirrors;
mod name_guards;
mod oracle;
pub(crate) mod package;
mod pages;
pub(crate) mod provenance;
mod publish;
mod quiet_year;
mod resume;
mod rule_effects;
mod servers;
mod undeclared_digests;
mod unlisted;
mod upload;
mod wheel_metadata;
