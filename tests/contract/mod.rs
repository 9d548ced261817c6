//! Contracts that every backend of the database, of fetches and of storage must satisfy.

mod db;
mod fetch;
mod storage;
