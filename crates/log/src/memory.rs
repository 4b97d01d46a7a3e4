//! The memory log: the contract without a disk, for tests and the simulation.
