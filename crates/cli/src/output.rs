//! What commands print: columns for people, JSON for programs.

use crate::failure::Failure;
use clap::ValueEnum;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};

/// Columns for people, or one JSON object per line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

impl Output {
    /// Writes a list to stdout: a JSON object per row, or the rows as `table` puts them, without headings in pipes.
    pub(crate) fn print_list<R: serde::Serialize>(
        self,
        rows: &[R],
        table: impl FnOnce(&[R]) -> Table,
    ) -> Result<(), Failure> {
        match self {
            Self::Json => print(&rows.iter().map(json_line).collect::<String>()),
            Self::Text => print(&table(rows).lines(io::stdout().is_terminal())),
        }
    }
}

/// Writes to stdout.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::of_stdout(&error))
}

/// One JSON object as a line.
pub(crate) fn json_line(value: &impl serde::Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("plain structs of text and numbers");
    line.push('\n');
    line
}

/// Rows under headings, in columns as wide as they need to be.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each heading.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.headings.len(), "a cell for each heading");
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell)).collect());
    }

    /// The table with its headings.
    pub(crate) fn text(&self) -> String {
        self.lines(true)
    }

    fn lines(&self, headings: bool) -> String {
        let headings: Vec<String> =
            if headings { self.headings.iter().map(|text| (*text).to_owned()).collect() } else { Vec::new() };
        let rows = || (!headings.is_empty()).then_some(&headings).into_iter().chain(&self.rows);
        let columns = 0..self.headings.len();
        let width = |column: usize| rows().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = columns.clone().map(width).collect();
        let is_number = |cell: &String| cell.chars().next().is_some_and(|c| c.is_ascii_digit() || c == '-');
        let right: Vec<bool> = columns
            .map(|column| !self.rows.is_empty() && self.rows.iter().all(|row| is_number(&row[column])))
            .collect();
        let mut text = String::new();
        for row in rows() {
            let cells = row.iter().zip(&widths).zip(&right).map(|((cell, &width), &right)| {
                if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            text += cells.collect::<Vec<_>>().join("  ").trim_end();
            text.push('\n');
        }
        text
    }
}

/// The elements of an array; none of anything else.
pub(crate) fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A field as a cell: text as it is, null as a dash.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A length of time as people say it.
pub(crate) fn duration(ms: &Value) -> String {
    match ms.as_u64() {
        None => "-".to_owned(),
        Some(ms) if ms < 10_000 => format!("{ms} ms"),
        Some(ms) if ms < 600_000 => format!("{} s", ms / 1_000),
        Some(ms) if ms < 36_000_000 => format!("{} min", ms / 60_000),
        Some(ms) => format!("{} h", ms / 3_600_000),
    }
}

/// What is above 0 of a map of counts, as `reason 3, other 1`.
pub(crate) fn counts(value: &Value) -> String {
    let all = value.as_object().into_iter().flatten();
    let above: Vec<String> = all
        .filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0))
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if above.is_empty() { "-".to_owned() } else { above.join(", ") }
}

/// Text of strangers must not move the cursor or end the line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_stand_right_and_text_left() {
        let mut table = Table::new(&["TOPIC", "LAG"]);
        table.row(vec!["orders".into(), "7".into()]);
        table.row(vec!["a\x1b[2J".into(), "1200".into()]);
        assert_eq!(table.text(), "TOPIC    LAG\norders     7\na\u{fffd}[2J   1200\n");
        assert_eq!(table.lines(false), "orders     7\na\u{fffd}[2J   1200\n");
    }

    #[test]
    fn figures_read_as_people_say_them() {
        assert_eq!(duration(&json!(9_999)), "9999 ms");
        assert_eq!(duration(&json!(599_000)), "599 s");
        assert_eq!(duration(&json!(7_200_000)), "120 min");
        assert_eq!(duration(&Value::Null), "-");
        assert_eq!(counts(&json!({"a": 0, "credit": 2, "poison": 1})), "credit 2, poison 1");
        assert_eq!(counts(&json!({})), "-");
    }
}
