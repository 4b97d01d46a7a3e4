//! From a stored batch to its records.

use crate::compression::{DecompressError, decompress};
use keyway_record::{RecordBatch, Records};

/// A walk over the records of `batch`, decompressed to at most `max` bytes first.
pub fn records(batch: &RecordBatch, max: usize) -> Result<Records, DecompressError> {
    let section = decompress(batch.compression(), batch.record_section(), max)?;
    Ok(Records::new(section, batch.record_count()))
}
