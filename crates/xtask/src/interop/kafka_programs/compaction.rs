//! LogCompactionTester: after compaction, the last value of every key of a topic is what was written last, and keys that
//! were deleted last are gone or seen as deleted. The tester compares; here is made sure that there was compaction.

use anyhow::{Context, ensure};

use crate::interop::stage::Stage;

const CONFIGS: &str = "kafka.admin.ConfigCommand";
const TESTER: &str = "org.apache.kafka.tools.LogCompactionTester";
/// About 4 MiB: three closed segments.
const RECORDS: u64 = 200_000;
const RECORDS_PER_KEY: u64 = 10;
/// More than some looks of the cleaner and the compaction of 3 MiB take.
const SLEEP_S: u64 = 5;
/// What compaction has to take away at least: all but a tenth of what is in closed segments goes at best.
const REDUCTION_PERCENT_MIN: f64 = 50.0;

pub(crate) async fn tester(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let settings = "log.segment.bytes=1048576,log.cleaner.backoff.ms=500";
    let for_all = ["--alter", "--entity-type", "brokers", "--entity-default", "--add-config", settings];
    stage.run_kafka_tool(CONFIGS, &for_all).await?;
    let mut command = stage.tools.apache_kafka()?.main_class(TESTER);
    command.args(["--bootstrap-server", &stage.broker.kafka().to_string()]);
    command.args(["--messages", &RECORDS.to_string(), "--duplicates", &RECORDS_PER_KEY.to_string()]);
    command.args(["--percent-deletes", "10", "--sleep", &SLEEP_S.to_string()]);
    // Its lists of records are left behind when it fails.
    command.env("JAVA_TOOL_OPTIONS", format!("-Djava.io.tmpdir={}", stage.folder().display()));
    let printed = stage.run(&mut command).await?.stdout;
    let lines: Vec<&str> = printed.lines().collect();
    judge(&lines).with_context(|| format!("it said: {}", lines.join(" / ")))
}

/// The check's detail, if the tester found nothing wrong and less than was written.
fn judge(lines: &[&str]) -> anyhow::Result<String> {
    let said = |words: &str| {
        let line = lines.iter().find(|line| line.contains(words));
        line.copied().with_context(|| format!("nothing of {words:?}"))
    };
    said("Data verification is completed")?;
    said(" 0 mismatches")?;
    let rows = said("rows of data produced")?;
    ensure!(rows.starts_with(&format!("{RECORDS} rows")), "{RECORDS} records were to be written");
    let reduction = rows.split_once('(').and_then(|(_, rest)| rest.split_once("% reduction"));
    let (reduction, _) = reduction.context("no reduction")?;
    let percent: f64 = reduction.parse()?;
    ensure!(percent >= REDUCTION_PERCENT_MIN, "compaction took {percent} % away");
    Ok(rows.trim_end_matches('.').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "200000 rows of data produced, 30000 rows of data consumed (85.0% reduction).";
    const VALIDATED: &str = "Validated 35880 values, 0 mismatches.";
    const DONE: &str = "Data verification is completed";

    #[test]
    fn a_log_that_was_compacted_and_is_right_passes() {
        assert_eq!(judge(&[ROWS, VALIDATED, DONE]).expect("all is well"), ROWS.trim_end_matches('.'));
    }

    #[test]
    fn what_is_wrong_or_was_not_compacted_is_seen() {
        let whole = ROWS.replace("85.0", "0.0");
        let fewer = ROWS.replace("200000", "199999");
        let mismatched = VALIDATED.replace(" 0 ", " 10 ");
        for lines in [
            [&*whole, VALIDATED, DONE],
            [&*fewer, VALIDATED, DONE],
            [ROWS, &*mismatched, DONE],
            [ROWS, VALIDATED, "Sleeping"],
        ] {
            assert!(judge(&lines).is_err(), "{lines:?}");
        }
    }
}
