//! The decoders on bytes that nobody meant: one module for each, its `run` being the body of the fuzz target. A finding is a
//! panic, a slow input, or much memory for few bytes.

pub mod danube;
pub mod decompress;
pub mod login;
pub mod record_batch;
pub mod request;
pub mod response;
pub mod settings;

/// A target's name and body.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 7] = [
    ("request", request::run),
    ("response", response::run),
    ("record_batch", record_batch::run),
    ("decompress", decompress::run),
    ("danube", danube::run),
    ("login", login::run),
    ("settings", settings::run),
];
