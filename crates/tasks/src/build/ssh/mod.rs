//! SSH: private keys, the agent that signs with them, and the host keys of git servers.

pub(super) mod agent;
pub(super) mod host_keys;
pub(super) mod key;
mod wire;
