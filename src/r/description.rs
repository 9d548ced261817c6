//! A package's DESCRIPTION, and the index record made from it.
