//! What every engine must do, as a suite that each engine runs.
