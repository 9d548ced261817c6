//! R's formats against real R and real packages.

mod text;
