//! The basic types of all other rooms. Pure: no I/O, no async, no clock; depends on no other room.

pub mod change;
pub mod definition_file;
pub mod digest;
pub mod documentation;
pub mod errors;
pub mod html;
pub mod ids;
pub mod import_list;
pub mod kind;
pub mod license;
pub mod license_expression;
pub mod locked_version;
pub mod loopback;
pub mod members;
pub mod name;
pub mod owned_bytes;
pub mod plain_url;
pub mod point;
pub mod project_name;
pub mod project_page;
pub mod project_path;
pub mod recorded_words;
pub mod rule_effect;
pub mod snapshot;
pub mod text;
pub mod time;
pub mod trusted_publisher;
pub mod visible;
pub mod words;

// For the code that `words!` generates in crates without this dependency.
#[doc(hidden)]
pub use serde;
