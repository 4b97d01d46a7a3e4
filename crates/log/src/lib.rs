//! What a log promises: the store and partition traits, the memory log, the contract suite.
