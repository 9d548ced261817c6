//! Formats of Python packages: names, versions, file names, tags, metadata, requirements, license expressions, the
//! simple repository API, archives and repository paths (specifications of the PyPA). No I/O beyond the `Read` and
//! `Write` passed in.

pub mod accept;
pub mod archive;
pub mod closure;
pub mod curated;
pub mod environment;
pub mod exact_versions;
pub mod facts;
pub mod file_name;
mod json_text;
pub mod license_types;
pub mod lock_file;
pub mod marker;
pub mod metadata;
pub mod name;
pub mod provenance;
pub mod requirement;
pub mod requirements_file;
pub mod selection;
pub mod simple;
pub mod specifier;
pub mod tag;
pub mod target;
pub mod upload;
pub mod version;
pub mod wheel_name;
