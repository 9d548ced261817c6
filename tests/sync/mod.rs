//! Syncs: what is planned, what mirrors may do to us, and what is left after a crash.

mod model;
mod plan;
mod plan_properties;
