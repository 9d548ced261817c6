//! The basic types of all other rooms. Pure: no I/O, no async, no clock; depends on no other room.

pub mod change;
pub mod count;
pub mod csv;
pub mod definition_path;
pub mod digest;
pub mod documentation;
pub mod error_chain;
pub mod error_list;
pub mod file_change;
pub mod fingerprint;
pub mod guarded;
pub mod html;
pub mod identity;
pub mod ids;
pub mod language;
pub mod license;
pub mod members;
pub mod name;
pub mod name_list;
pub mod one_line;
pub mod point;
pub mod refused_rows;
pub mod repository;
pub mod rule_effect;
pub mod shell;
pub mod snapshot;
pub mod source;
pub mod storage_class;
pub mod text_file;
pub mod time;
pub mod trusted_publisher;
pub mod visible;
pub mod words;

pub use crate::words;
