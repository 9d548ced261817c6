//! RDS, R's serialised objects: read and written.
