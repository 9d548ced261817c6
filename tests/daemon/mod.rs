//! The daemon as a process: start, answers, check-config, signals, stop.

mod bad_start;
mod bad_start_database;
mod bad_start_storage;
mod check;
mod conditional;
mod crash;
mod journal;
mod no_drop;
mod nodes;
mod privileges;
mod repository;
mod rotation;
mod rotation_load;
mod start;
mod stop;
mod systemd;
mod tls;
