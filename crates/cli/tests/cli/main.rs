//! The built binary, from the outside: what users type, what they see, how it ends.

mod demo;
mod keyway;
mod records;
mod serve;
mod topics;
