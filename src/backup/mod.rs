//! Dumps: all rows of the database in a format that does not depend on its provider, and the migration to another
//! provider, which writes and reads such a dump.

pub mod digest;
pub mod dump;
pub mod examine;
pub mod migrate;
