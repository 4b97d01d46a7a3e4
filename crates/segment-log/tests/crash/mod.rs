//! What the recovery tests need: a disk that fails, and a workload that knows what it may find.

pub(crate) mod disk;
pub(crate) mod history;
