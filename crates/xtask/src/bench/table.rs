//! What was measured, per row and system and round, and how it reads as a Markdown table.

use std::fmt;
use std::time::Duration;

/// One round of one row on one system.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// In the row's unit.
    pub(crate) value: f64,
    /// Processor time of the broker meanwhile.
    pub(crate) broker_cpu: Option<Duration>,
    /// Share of the machine that neither the broker nor the client used.
    pub(crate) foreign_cpu: Option<f64>,
    /// Median time of a flush of 4 KiB just before, microseconds.
    pub(crate) flush_us: Option<f64>,
}

impl Sample {
    pub(crate) fn of(value: f64) -> Self {
        Self { value, broker_cpu: None, foreign_cpu: None, flush_us: None }
    }
}

struct Row {
    name: String,
    unit: &'static str,
    /// One list of rounds per system.
    samples: Vec<Vec<Sample>>,
}

/// Rows in the order in which they were first measured; the first system is the one that is compared.
pub(crate) struct Table {
    systems: Vec<&'static str>,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(systems: Vec<&'static str>) -> Self {
        Self { systems, rows: Vec::new() }
    }

    /// Adds one round's sample of system number `system`.
    pub(crate) fn add(&mut self, name: &str, unit: &'static str, system: usize, sample: Sample) {
        eprintln!("{name}: {} {} {unit}", self.systems[system], shown(sample.value));
        let place =
            self.rows.iter().position(|row| row.name == name && row.unit == unit).unwrap_or_else(|| {
                let samples = vec![Vec::new(); self.systems.len()];
                self.rows.push(Row { name: name.to_string(), unit, samples });
                self.rows.len() - 1
            });
        self.rows[place].samples[system].push(sample);
    }
}

impl Row {
    /// The first system's value over another one's, round by round.
    fn ratios(&self, other: usize) -> Vec<f64> {
        let rounds = self.samples[0].iter().zip(&self.samples[other]);
        rounds.filter(|(_, b)| b.value > 0.0).map(|(a, b)| a.value / b.value).collect()
    }

    /// The median of what `of` finds in all samples, or a dash.
    fn shown(&self, of: impl Fn(&Sample) -> Option<f64>, text: impl Fn(f64) -> String) -> String {
        let found: Vec<f64> = self.samples.iter().flatten().filter_map(of).collect();
        median(&found).map_or("–".to_string(), text)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = 1..self.systems.len().max(2);
        write!(out, "| what | unit |")?;
        self.systems.iter().try_for_each(|system| write!(out, " {system}: median (min to max) |"))?;
        for other in others.clone() {
            match self.systems.get(other) {
                // Beside one other it is clear which one is meant.
                Some(other) if self.systems.len() > 2 => write!(out, " ratio to {other} by round |")?,
                _ => write!(out, " ratio by round |")?,
            }
        }
        writeln!(out, " broker CPU s | foreign CPU | flush us |")?;
        writeln!(out, "|---|---|{}---|---|---|", "---|".repeat(self.systems.len() + others.len()))?;
        for row in &self.rows {
            write!(out, "| {} | {} |", row.name, row.unit)?;
            for samples in &row.samples {
                write!(out, " {} |", spread(&samples.iter().map(|sample| sample.value).collect::<Vec<_>>()))?;
            }
            for other in others.clone() {
                let ratios = if other < self.systems.len() { row.ratios(other) } else { Vec::new() };
                write!(out, " {} |", spread(&ratios))?;
            }
            let cpus: Vec<String> = row.samples.iter().map(|samples| cpu(samples)).collect();
            let foreign = row.shown(|sample| sample.foreign_cpu, |share| format!("{:.0} %", 100.0 * share));
            let flush = row.shown(|sample| sample.flush_us, |us| format!("{us:.0}"));
            writeln!(out, " {} | {foreign} | {flush} |", cpus.join(" / "))?;
        }
        Ok(())
    }
}

fn cpu(samples: &[Sample]) -> String {
    let seconds: Vec<f64> =
        samples.iter().filter_map(|sample| sample.broker_cpu).map(|cpu| cpu.as_secs_f64()).collect();
    median(&seconds).map_or("–".to_string(), |seconds| format!("{seconds:.2}"))
}

fn spread(values: &[f64]) -> String {
    let Some(middle) = median(values) else { return "–".to_string() };
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    format!("**{}** ({} to {})", shown(middle), shown(low), shown(high))
}

fn shown(value: f64) -> String {
    match value {
        large if large >= 100.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small if small >= 0.1 => format!("{small:.2}"),
        tiny => format!("{tiny:.3}"),
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_pair_the_rounds() {
        let mut table = Table::new(vec!["keyway", "kafka"]);
        for (ours, theirs) in [(10.0, 5.0), (30.0, 10.0), (8.0, 8.0)] {
            table.add("produce", "MB/s", 0, Sample::of(ours));
            table.add("produce", "MB/s", 1, Sample::of(theirs));
        }
        assert_eq!(table.rows[0].ratios(1), [2.0, 3.0, 1.0]);
        let text = table.to_string();
        assert!(text.contains("**2.00** (1.00 to 3.00)"), "{text}");
        assert!(text.contains("| **10.0** (8.00 to 30.0) | **8.00** (5.00 to 10.0) |"), "{text}");
    }

    #[test]
    fn a_system_without_samples_is_a_dash() {
        let mut table = Table::new(vec!["keyway", "kafka"]);
        table.add("Key-Shared", "messages/s", 0, Sample::of(12_000.0));
        assert!(
            table.to_string().contains("| **12000** (12000 to 12000) | – | – | – / – | – | – |"),
            "{table}"
        );
    }

    #[test]
    fn each_other_system_has_its_ratio() {
        let mut table = Table::new(vec!["keyway", "kafka", "kafka-fsync"]);
        for (system, value) in [(0, 30.0), (1, 10.0), (2, 3.0)] {
            table.add("raw", "MB/s", system, Sample { flush_us: Some(120.0), ..Sample::of(value) });
        }
        let text = table.to_string();
        assert!(text.contains("| ratio to kafka by round | ratio to kafka-fsync by round |"), "{text}");
        assert!(text.contains("| **3.00** (3.00 to 3.00) | **10.0** (10.0 to 10.0) |"), "{text}");
        assert!(text.contains("| – | 120 |"), "{text}");
        let columns = |line: &str| line.matches('|').count();
        assert!(
            text.lines().all(|line| columns(line) == columns(text.lines().next().expect("a head"))),
            "{text}"
        );
    }

    #[test]
    fn an_even_number_of_rounds_has_a_median_between_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
