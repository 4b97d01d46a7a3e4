//! What the recovery tests need: a disk that fails, and a workload that knows what it may find.

pub mod disk;
pub mod history;
