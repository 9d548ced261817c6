//! Builders, which fetch and build packages of git repositories in sandboxes: the protocol between them and the server,
//! its client, the choice of a sandbox, and the program that runs inside.

mod bubblewrap;
mod channel;
pub mod connection;
pub mod message;
mod program;
pub mod sandbox;
pub mod url;
mod value;

pub use program::main;
