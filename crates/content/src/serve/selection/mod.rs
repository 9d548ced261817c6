//! What a repository lists at a point: points, owners of names, block rules and name guards.

pub(in crate::serve) mod allowed;
pub mod name_guards;
pub mod point;
pub mod policies;
pub mod withheld;
