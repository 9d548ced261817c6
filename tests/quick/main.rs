//! The tests of `make check`, which need only the programs of this project, as any user.

#![allow(clippy::unwrap_used, reason = "a panic fails the test with its location")]

mod access {
    use crate::support::access::{basic, bearer, get, private_repository, send, token};

    mod attacks;
    mod repositories;
    mod tokens;
}

mod api {
    mod disconnects;
    mod filter;
    mod packages;
    mod protocol;
    mod rules;
}

mod cli {
    use crate::support::team::{add, files, path_flag, team};

    mod bad_packages;
    mod license_types;
    mod metadata;
    mod packages;
    mod platforms;
    mod refusals;
}

mod contract {
    mod log_audit;
    mod sqlite;
}

mod daemon {
    mod conditional;
    mod repository;
}

mod fuzz;

mod offline {
    mod bundles;
    mod incremental;
}

mod python {
    mod index_bases;
    mod unlisted;
}

mod r {
    mod rds_hostile;
    mod zip_members;
}

mod security {
    mod requests;
    mod urls;
}

mod sync {
    mod model;
    mod plan;
    mod plan_properties;
}

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod support;
