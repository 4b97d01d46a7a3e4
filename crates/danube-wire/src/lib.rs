//! Danube protobuf messages and names, and their mapping to records.
