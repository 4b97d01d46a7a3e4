//! Key-Shared and the other subscription types as one pure state machine.
