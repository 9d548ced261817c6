//! The daemon as a process: start, answers, check-config, signals, stop.

mod check;
mod start;
mod stop;
