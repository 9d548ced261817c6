//! What an administrator touches: the configuration file.

mod bad_config;
mod gcfg_examples;
mod gcfg_oracle;
mod property_bioconductor;
mod property_cran;
mod property_database;
mod property_environment;
mod property_list;
mod property_listen;
mod property_logging;
mod property_metrics;
mod property_proxy;
mod property_s3;
mod property_server;
mod property_storage;
mod property_sysreqs;
mod property_usage;
mod reload_bioconductor;
mod reload_cran;
mod reload_https;
mod reload_list;
mod reload_logging;
mod reload_platforms;
mod reload_proxy;
mod reload_server;
mod reload_sysreqs;
