//! The format of encryption keys and of encrypted values, which are those of Posit's products.
//!
//! Pure: random numbers are arguments, except in [`bootstrap`], which generates the random numbers that RSA needs.

pub mod bootstrap;
pub mod key;
pub mod value;
