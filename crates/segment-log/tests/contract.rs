//! The segment log keeps the contract of every log, with room to spare and with none.

use keyway_log::{contract::Home, contract_reopen_tests, contract_tests};
use keyway_runtime::World;
use keyway_segment_log::{Options, SegmentStore};
use std::sync::Arc;

fn home(options: Options) -> Home {
    let folder = tempfile::tempdir().unwrap();
    Box::new(move || {
        let store = SegmentStore::open(&World::real(), folder.path().join("data"), options.clone());
        Arc::new(store.unwrap_or_else(|error| panic!("{error}")))
    })
}

mod roomy {
    use super::*;

    contract_tests!(home(Options::default()));
    contract_reopen_tests!(home(Options::default()));
}

/// Everything happens often: segments roll, memory fills, checkpoints follow each other, files are few.
mod tight {
    use super::*;

    fn options() -> Options {
        Options {
            arena_bytes_max: 40_000,
            staging_bytes_max: 20_000,
            commit_bytes_max: 8_000,
            wal_file_bytes: 64 << 10,
            checkpoint_bytes: 100_000,
            wal_bytes_max: 400_000,
            segment_bytes: 30_000,
            open_files_max: 3,
            ..Options::default()
        }
    }

    contract_tests!(home(options()));
    contract_reopen_tests!(home(options()));
}
