//! Consumer-group membership, offsets and producer ids as pure state machines.
