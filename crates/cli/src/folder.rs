//! The folder of a broker that does not run.

use crate::failure::Failure;
use keyway_log::LogStore;
use keyway_runtime::World;
use keyway_segment_log::{Options, SegmentStore};
use std::{path::Path, sync::Arc};

/// Its store, which has to be closed.
pub(crate) struct Folder {
    pub(crate) world: World,
    pub(crate) store: Arc<dyn LogStore>,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let world = World::real();
        let store = SegmentStore::open(&world, path.to_owned(), Options::default())
            .map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self { world, store: Arc::new(store) })
    }

    pub(crate) fn close(self) -> Result<(), Failure> {
        self.store.close().map_err(|error| Failure::Failed(error.to_string()))
    }
}
