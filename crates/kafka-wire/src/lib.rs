//! Kafka bytes to messages and back: framing, headers, generated messages, compression.
