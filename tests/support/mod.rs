//! What tests of several folders share.

pub(crate) mod again;
pub(crate) mod data;
pub(crate) mod db;
pub(crate) mod faulty;
pub(crate) mod full_mirror;
pub(crate) mod http;
pub(crate) mod mirror;
pub(crate) mod nginx;
pub(crate) mod postgres;
pub(crate) mod rscript;
pub(crate) mod rspm;
pub(crate) mod s3;
pub(crate) mod server;
pub(crate) mod storage;
pub(crate) mod syncing;
pub(crate) mod tarball;
pub(crate) mod upstream;
pub(crate) mod world;
