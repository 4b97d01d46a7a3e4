//! Records that are damaged where they are stored.

use super::Shared;
use axum::{Json, extract::State};
use keyway_log::DamagedRange;
use serde::Serialize;

/// All of them.
#[derive(Serialize)]
pub(super) struct DamagedRecords {
    damaged_records: Vec<DamagedView>,
}

/// Consecutive ones, as far as they are known.
#[derive(Serialize)]
struct DamagedView {
    topic: String,
    partition: i32,
    first_offset: i64,
    /// The first one behind them that is good.
    next_offset: i64,
    file: String,
    /// Of the first damaged byte in the file.
    position: u64,
}

impl DamagedView {
    fn of(range: &DamagedRange) -> Self {
        Self {
            topic: range.partition.topic.as_str().to_owned(),
            partition: range.partition.partition.0,
            first_offset: range.from.0,
            next_offset: range.next.0,
            file: range.file.display().to_string(),
            position: range.position,
        }
    }
}

pub(super) async fn list(State(node): State<Shared>) -> Json<DamagedRecords> {
    Json(DamagedRecords { damaged_records: node.store.damages().iter().map(DamagedView::of).collect() })
}
