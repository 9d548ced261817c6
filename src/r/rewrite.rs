//! A source archive with another `Repository` field and every other byte kept.
