//! Bounds that several crates share, each with its reason.

/// Largest Kafka request frame, bytes; Kafka's `socket.request.max.bytes` default.
pub const REQUEST_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Largest record batch, bytes; Kafka's `message.max.bytes` default (1 MiB of records plus the header's 12 bytes).
pub const BATCH_BYTES_MAX: usize = 1024 * 1024 + 12;

/// Most bytes one batch may decompress to: 64 times the largest batch, so that a bomb costs a bounded buffer.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Largest encoded Danube message, bytes: all published clients refuse more than gRPC's default of 4 MiB.
pub const DANUBE_MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest Danube message that is taken in, bytes as the client sends it: a delivery adds names, addresses and ids to it,
/// for which 16 KiB are kept free.
pub const DANUBE_SENT_BYTES_MAX: usize = DANUBE_MESSAGE_BYTES_MAX - 16 * 1024;
