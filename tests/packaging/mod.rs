//! What is installed: units, manual pages, packages.

mod generated;
mod sockets;
mod units;
