//! The downloader and its bundles, as administrators use them.

mod binaries;
mod bioconductor;
mod copies;
mod difference;
mod downloads;
mod faults;
mod import_scripts;
mod memory;
mod mutations;
mod origin_servers;
mod origins;
mod progress;
mod proxies;
mod python;
mod python_faults;
mod resuming;
mod round_trip;
mod servers;
mod serving;
mod serving_bioconductor;
mod serving_http;
mod serving_readmes;
mod serving_shared;
mod static_site;
mod subset;
mod vulns;
