//! Installed files: units, manual pages, packages.

mod boot;
mod demo;
mod exhaustive;
mod generated;
mod helper_programs;
mod inventory;
mod readme;
mod sockets;
mod units;
