//! What a measurement cost: processor time of the broker, of its clients, and of everyone else on the machine.

use std::path::Path;
use std::time::{Duration, Instant};

use super::machine::{self, Usage};
use super::table::Sample;
use crate::broker::Broker;

/// Runs from its start on.
pub(crate) struct Meter<'a> {
    broker: &'a Broker,
    flush_us: Option<f64>,
    began: Instant,
    usage: Usage,
    broker_cpu: Duration,
    broker_switches: u64,
}

/// What a meter shows.
pub(crate) struct Reading {
    pub(crate) took: Duration,
    pub(crate) broker_cpu: Duration,
    /// Of this program, in which the clients may run.
    pub(crate) own_cpu: Duration,
    pub(crate) broker_switches: u64,
    sample: Sample,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(broker: &'a Broker) -> anyhow::Result<Self> {
        let (broker_cpu, broker_switches) = (broker.cpu()?, broker.context_switches()?);
        let usage = Usage::now()?;
        Ok(Self { broker, flush_us: None, began: Instant::now(), usage, broker_cpu, broker_switches })
    }

    /// After a look at how long a flush takes in `folder` at the moment.
    pub(crate) fn start_beside_flushes(broker: &'a Broker, folder: &Path) -> anyhow::Result<Self> {
        let flush_us = machine::fdatasync_times(folder)?.0.as_micros() as f64;
        Ok(Self { flush_us: Some(flush_us), ..Self::start(broker)? })
    }

    pub(crate) fn read(&self) -> anyhow::Result<Reading> {
        let took = self.began.elapsed();
        let broker_cpu = self.broker.cpu()?.saturating_sub(self.broker_cpu);
        let usage = Usage::now()?;
        let sample = Sample {
            value: 0.0,
            broker_cpu: Some(broker_cpu),
            foreign_cpu: Some(usage.foreign_share(&self.usage, broker_cpu)?),
            flush_us: self.flush_us,
        };
        let broker_switches = self.broker.context_switches()?.saturating_sub(self.broker_switches);
        Ok(Reading { took, broker_cpu, own_cpu: usage.own_since(&self.usage), broker_switches, sample })
    }
}

impl Reading {
    /// A figure of this measurement.
    pub(crate) fn sample(&self, value: f64) -> Sample {
        Sample { value, ..self.sample }
    }
}
