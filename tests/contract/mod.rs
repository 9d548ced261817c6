//! What every backend of a store must do alike.

mod db;
mod flight;
mod storage;
