//! The daemon as a process: start, answers, check-config, signals, stop.

mod bad_start;
mod bad_start_database;
mod bad_start_storage;
mod check;
mod conditional;
mod crash;
mod created;
mod degraded;
mod files;
mod handed_over;
mod journal;
mod modes;
mod no_drop;
mod nodes;
mod privileges;
mod reload_protocol;
mod repository;
mod rotation;
mod rotation_bad;
mod rotation_load;
mod rotation_own;
mod start;
mod stop;
mod systemd;
mod tls;
mod watchdog;
