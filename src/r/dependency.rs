//! Dependency lists: what `Depends`, `Imports` and their kin say.
