//! The simple repository API (PyPA: simple repository API; PEP 503, 592, 629, 658, 691, 700, 714, 740, 792): pages as
//! values, read and written as JSON and HTML.

pub mod documents;
mod html;
mod json;
pub mod page;
pub mod read;
pub mod root;
pub mod write;

#[cfg(test)]
mod tests;
