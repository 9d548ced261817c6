//! The format of encryption keys and of encrypted values, which are those of Posit's products.
//!
//! Pure: random numbers are arguments.

pub mod key;
pub mod value;
