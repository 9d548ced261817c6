//! Which file of a package is its README.
