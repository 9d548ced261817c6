//! What an administrator touches: the configuration file.

mod gcfg_examples;
mod gcfg_oracle;
