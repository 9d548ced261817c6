//! Package versions in the order R gives them.
