//! The built binary, from the outside: what users type, what they see, how it ends.

mod acl;
mod config_file;
mod dead_letters;
mod demo;
mod disk_full;
mod doctor;
mod faults;
mod keyway;
mod readme;
mod records;
mod serve;
mod subscriptions;
mod topics;
