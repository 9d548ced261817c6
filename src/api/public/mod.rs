//! Shapes of the public read API, as clients of the original know them.
