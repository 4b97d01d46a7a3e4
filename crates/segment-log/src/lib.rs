//! The local-file engine: one write-ahead log for everything, segments behind it.
