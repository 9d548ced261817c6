//! The downloader and its bundles, as administrators use them.

mod bad;
mod bundles;
mod copies;
mod difference;
mod first;
mod mutations;
mod resuming;
mod serving;
mod subset;
