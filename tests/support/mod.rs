//! What tests of several folders share.

pub(crate) mod again;
pub(crate) mod data;
pub(crate) mod db;
pub(crate) mod ended;
pub(crate) mod faulty;
pub(crate) mod full_mirror;
pub(crate) mod furnish;
pub(crate) mod fuse;
pub(crate) mod http;
pub(crate) mod manager;
pub(crate) mod mirror;
pub(crate) mod nginx;
pub(crate) mod postgres;
pub(crate) mod relay;
pub(crate) mod rscript;
pub(crate) mod rspm;
pub(crate) mod s3;
pub(crate) mod server;
pub(crate) mod statfs;
pub(crate) mod steady;
pub(crate) mod storage;
pub(crate) mod syncing;
pub(crate) mod tarball;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod world;
