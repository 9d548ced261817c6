//! The format of encryption keys and of encrypted values, which are those of Posit's products.
//!
//! Pure: random numbers are arguments. The exception is [`bootstrap`], which generates those that RSA needs.

pub mod bootstrap;
pub mod key;
pub mod value;
