//! What every backend of a store must do alike.

mod storage;
