//! Wire types of the admin and public JSON APIs, one file per noun. Pure data: no handlers, no transport.

pub mod audit;
pub mod backup;
pub mod binary;
pub mod block_rule;
pub mod choices;
pub mod cluster;
pub mod control;
pub mod definition;
pub mod error;
pub mod explain;
pub mod fixed_url;
pub mod flag_values;
pub mod git;
pub mod health;
pub mod history;
pub mod job;
pub mod metadata;
pub mod name_guard;
pub mod operations;
pub mod package;
pub mod prefetch;
pub mod promotion;
pub mod public;
pub mod query;
pub mod repo;
pub mod row;
pub mod scrub;
pub mod source;
pub mod state;
pub mod storage;
pub mod token;

/// Path prefix of the admin API: version 1.
pub const ADMIN_PREFIX: &str = "/__api__/admin/v1";
/// The header with the version of the catalog (`clock.catalog`): in the response to a request on the network, the
/// version on which the response is based; in a request, the minimum version for the response.
pub const CATALOG_HEADER: &str = "x-catalog";
/// The header with the version of `rspm` in its requests on the network; the server refuses a request with another
/// major or minor version than its own.
pub const VERSION_HEADER: &str = "x-rspm-version";
