//! Binary packages: taken in, found, served, installed by real R.

mod adding;
