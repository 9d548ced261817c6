//! The format of encryption keys and of encrypted values, which are those of Posit's products.
//!
//! Pure: random numbers are arguments, except those of [`bootstrap`], whose keys are RSA keys.

pub mod bootstrap;
pub mod key;
pub mod value;
