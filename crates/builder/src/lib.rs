//! Builders, which fetch and build packages of git repositories in sandboxes: the protocol between them and the server,
//! its client, the choice of a sandbox, and the program that runs inside.
//!
//! A builder is a process that runs one job: `rstudio-pm-builder fetch` runs git with the network and a credential,
//! `rstudio-pm-builder build` runs code of a repository with neither of them. The server is the client: it connects to
//! the socket of a unit, or starts the program in bubblewrap, and sends one packet (`SOCK_SEQPACKET`) with a request
//! and its descriptors: a log, a file for the result, the sources, a credential. The builder restricts itself further,
//! runs commands, ends the processes that they leave behind, copies the result, and answers with events. The end of the
//! connection is the end of the job, in both directions.
//!
//! What a builder reports is not trusted: its result is treated as an upload. `tests/builder/attempts.rs` has the
//! attempts of hostile code, and what stops each.

mod bubblewrap;
mod channel;
pub mod connection;
pub mod message;
mod program;
pub mod sandbox;
pub mod url;
mod value;

pub use program::main;
