//! The outside world as four traits, clock, disk, network and entropy, and their real implementation.
