//! The daemon as a process: start, answers, check-config, signals, stop.

mod check;
mod conditional;
mod crash;
mod repository;
mod start;
mod stop;
mod systemd;
mod tls;
