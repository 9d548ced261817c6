//! What is installed: units, manual pages, packages.

mod boot;
mod generated;
mod sockets;
mod units;
