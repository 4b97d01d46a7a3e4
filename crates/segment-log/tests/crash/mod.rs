//! What the recovery tests need: a disk that fails, and a workload that knows what it may find.

#![allow(dead_code, reason = "each of the tests uses its part")]

pub(crate) mod disk;
pub(crate) mod history;
pub(crate) mod readers;
