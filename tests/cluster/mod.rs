//! Several servers on one PostgreSQL database with shared storage, each with its own host name.

mod balancers;
mod fail_over;
mod imports;
mod leases;
mod log;
mod modes;
mod nodes;
mod notifications;
mod pooler;
mod publishing;
mod rules;
mod storage;
mod upgrade;

use crate::support::cluster::{Shared, leaders, modes, nodes, within};
