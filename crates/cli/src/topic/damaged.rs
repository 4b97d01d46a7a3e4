//! `keyway topic damaged`.

use crate::{
    failure::Failure,
    http::Http,
    output::{Output, Table, cell, elements},
};
use clap::Args;
use serde_json::Value;

/// Show which records are damaged on the disk, as far as they were read, and where each partition goes on
#[derive(Args)]
pub(super) struct Damaged {
    /// Columns, or one JSON object per line
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    http: Http,
}

impl Damaged {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let answer = self.http.get("/api/v1/damaged-records").await?;
        self.output.print_list(elements(&answer["damaged_records"]), table)
    }
}

/// A line for each stretch of records.
fn table(ranges: &[Value]) -> Table {
    let mut table =
        Table::new(&["TOPIC", "PARTITION", "FIRST OFFSET", "NEXT GOOD OFFSET", "FILE", "AT BYTE"]);
    for range in ranges {
        let columns = ["topic", "partition", "first_offset", "next_offset", "file", "position"];
        table.row(columns.iter().map(|column| cell(&range[column])).collect());
    }
    table
}
