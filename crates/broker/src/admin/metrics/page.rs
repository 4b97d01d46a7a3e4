//! The figures of one scrape, in families, in the form that the encoder takes.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};
use std::{borrow::Cow, fmt};

/// Labels of one series.
pub(super) type Labels = Vec<(&'static str, String)>;

/// All families of a scrape, in order.
#[derive(Debug, Default)]
pub(super) struct Page(Vec<Family>);

/// Series of one name and kind.
#[derive(Debug)]
pub(super) struct Family {
    name: Cow<'static, str>,
    help: &'static str,
    kind: Kind,
    series: Vec<(Labels, Figure)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
enum Figure {
    Whole(u64),
    Real(f64),
    Buckets { sum: f64, count: u64, buckets: Vec<(f64, u64)> },
}

impl Page {
    /// A family of counts that only grow; the encoder adds `_total` to the name.
    pub(super) fn counter(&mut self, name: impl Into<Cow<'static, str>>, help: &'static str) -> &mut Family {
        self.family(name.into(), help, Kind::Counter)
    }

    /// A family of figures that go up and down.
    pub(super) fn gauge(&mut self, name: impl Into<Cow<'static, str>>, help: &'static str) -> &mut Family {
        self.family(name.into(), help, Kind::Gauge)
    }

    /// A family of distributions.
    pub(super) fn histogram(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        help: &'static str,
    ) -> &mut Family {
        self.family(name.into(), help, Kind::Histogram)
    }

    fn family(&mut self, name: Cow<'static, str>, help: &'static str, kind: Kind) -> &mut Family {
        assert!(self.0.iter().all(|family| family.name != name), "{name} has one family");
        self.0.push(Family { name, help, kind, series: Vec::new() });
        self.0.last_mut().expect("pushed a line above")
    }
}

impl Family {
    pub(super) fn whole(&mut self, labels: Labels, figure: u64) -> &mut Self {
        self.series.push((labels, Figure::Whole(figure)));
        self
    }

    pub(super) fn real(&mut self, labels: Labels, figure: f64) -> &mut Self {
        self.series.push((labels, Figure::Real(figure)));
        self
    }

    /// `buckets` are upper bounds, the last one infinite, each with the number of figures that no earlier one holds.
    pub(super) fn buckets(&mut self, labels: Labels, sum: f64, count: u64, buckets: Vec<(f64, u64)>) {
        debug_assert_eq!(buckets.iter().map(|&(_, here)| here).sum::<u64>(), count);
        self.series.push((labels, Figure::Buckets { sum, count, buckets }));
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.0.iter().filter(|family| !family.series.is_empty()) {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(&family.name, family.help, None, kind)?;
            for (labels, figure) in &family.series {
                if labels.is_empty() {
                    figure.encode(family.kind, &mut metric)?;
                } else {
                    figure.encode(family.kind, &mut metric.encode_family(labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Figure {
    fn encode(&self, kind: Kind, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        match (kind, self) {
            (Kind::Counter, Self::Whole(figure)) => metric.encode_counter::<NoLabelSet, _, u64>(figure, None),
            (Kind::Counter, Self::Real(figure)) => metric.encode_counter::<NoLabelSet, _, f64>(figure, None),
            (Kind::Gauge, Self::Whole(figure)) => metric.encode_gauge(figure),
            (Kind::Gauge, Self::Real(figure)) => metric.encode_gauge(figure),
            (Kind::Histogram, Self::Buckets { sum, count, buckets }) => {
                metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
            }
            _ => unreachable!("figures are added as their family's kind"),
        }
    }
}
