//! What this process counts, in the form that Prometheus reads. Knows nothing of where the numbers come from.
//!
//! Names and labels are a promise: alert rules and dashboards (`deploy/alerts.yml`) depend on them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// From a homeserver next door to one that runs into the time limit.
const DELIVERY_BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// From a message that went out at once to one that waited for a homeserver over the weekend.
const QUEUED_BUCKETS: [f64; 14] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0];

/// What became of a message of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Delivery {
    pub event_type: String,
    /// `ok`, `failed` for good, or `held` until the homeserver is back.
    pub status: &'static str,
}

/// One backend, by the id that Odoo shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfBackend {
    pub backend: i32,
}

/// One of the two sides between which an account is followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Side {
    /// `homeserver` or `odoo`.
    pub side: &'static str,
}

/// Messages whose outcome was written for good.
#[derive(Debug, Default)]
pub struct Totals {
    pub sent: AtomicU64,
    pub failed: AtomicU64,
}

impl Totals {
    /// Sent, and failed.
    pub fn read(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// What `drain` and the list of workers show.
    pub totals: Arc<Totals>,
    pub pending: Gauge,
    pub oldest_age_seconds: Gauge<f64, AtomicU64>,
    pub deliveries: Family<Delivery, Counter>,
    pub delivery_duration_seconds: Histogram,
    pub queued_to_sent_seconds: Histogram,
    pub rate_limited: Counter,
    pub backend_up: Family<OfBackend, Gauge>,
    pub lanes_held: Gauge,
    pub leases_taken_over: Counter,
    pub fenced_completions: Counter,
    pub db_reconnects: Counter,
    pub listener_up: Gauge,
    pub following: Family<OfBackend, Gauge>,
    pub inbound_events: Counter,
    pub inbound_refused: Counter,
    pub inbound_unreadable: Counter,
    pub inbound_gaps: Counter,
    pub inbound_failures: Family<Side, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            totals: Arc::default(),
            pending: Gauge::default(),
            oldest_age_seconds: Gauge::default(),
            deliveries: Family::default(),
            delivery_duration_seconds: Histogram::new(DELIVERY_BUCKETS),
            queued_to_sent_seconds: Histogram::new(QUEUED_BUCKETS),
            rate_limited: Counter::default(),
            backend_up: Family::default(),
            lanes_held: Gauge::default(),
            leases_taken_over: Counter::default(),
            fenced_completions: Counter::default(),
            db_reconnects: Counter::default(),
            listener_up: Gauge::default(),
            following: Family::default(),
            inbound_events: Counter::default(),
            inbound_refused: Counter::default(),
            inbound_unreadable: Counter::default(),
            inbound_gaps: Counter::default(),
            inbound_failures: Family::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }
}

impl Metrics {
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// All of it as one page of text.
    pub fn encode(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("writing to a string cannot fail");
        page
    }

    /// The names under which the numbers are read. The format appends the unit, and `_total` to counters.
    fn register(&self) -> Registry {
        let mut all = Registry::with_prefix("matrix");
        all.register(
            "outbox_pending",
            "Messages that wait, counted up to 10000: 10001 means more",
            self.pending.clone(),
        );
        all.register_with_unit(
            "outbox_oldest_age",
            "How long the oldest of the counted messages has waited",
            Unit::Seconds,
            self.oldest_age_seconds.clone(),
        );
        all.register(
            "deliveries",
            "Messages whose outcome was written: ok, failed for good, or held until the homeserver is back",
            self.deliveries.clone(),
        );
        all.register_with_unit(
            "delivery_duration",
            "From the last request for a message to the homeserver's 200",
            Unit::Seconds,
            self.delivery_duration_seconds.clone(),
        );
        all.register_with_unit(
            "queued_to_sent",
            "From the moment when Odoo queued a message to the homeserver's 200",
            Unit::Seconds,
            self.queued_to_sent_seconds.clone(),
        );
        all.register(
            "rate_limited",
            "Answers by which the homeserver slowed the account down",
            self.rate_limited.clone(),
        );
        all.register(
            "backend_up",
            "1 while messages of the backend are sent, 0 while it is stopped",
            self.backend_up.clone(),
        );
        all.register("lanes_held", "Lanes that this worker has leased", self.lanes_held.clone());
        all.register(
            "leases_taken_over",
            "Lanes taken from a worker that died or hung",
            self.leases_taken_over.clone(),
        );
        all.register(
            "fenced_completions",
            "Results dropped because another worker had taken the lane over",
            self.fenced_completions.clone(),
        );
        all.register("db_reconnects", "Connections to the database that were found broken", self.db_reconnects.clone());
        all.register(
            "listener_up",
            "1 while notifications of new messages arrive, 0 while the worker polls",
            self.listener_up.clone(),
        );
        self.register_inbound(&mut all);
        all
    }

    /// What is written in Matrix and passed on to Odoo.
    fn register_inbound(&self, all: &mut Registry) {
        all.register(
            "inbound_following",
            "1 while this worker reads what is written in Matrix and Odoo accepts it, 0 while it tries to; not where the homeserver sends it",
            self.following.clone(),
        );
        all.register("inbound_events", "Events from Matrix that Odoo has accepted", self.inbound_events.clone());
        all.register(
            "inbound_refused",
            "Events from Matrix that Odoo did not accept, and that were left out",
            self.inbound_refused.clone(),
        );
        all.register(
            "inbound_unreadable",
            "Events from encrypted rooms that the worker could not decrypt",
            self.inbound_unreadable.clone(),
        );
        all.register(
            "inbound_gaps_closed",
            "Rooms with more new events than one answer holds, read page by page",
            self.inbound_gaps.clone(),
        );
        all.register(
            "inbound_failures",
            "Calls that failed while following, by the side that did not answer as it should",
            self.inbound_failures.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_help_text_and_every_time_its_unit() {
        let page = Metrics::default().encode();
        let names: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();

        assert!(!names.is_empty(), "{page}");
        for name in names {
            let help = page.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
            assert!(help.is_some_and(|text| text.len() > 20), "{name} has no help:\n{page}");
            let unit = page.lines().any(|line| line == format!("# UNIT {name} seconds"));
            assert_eq!(unit, name.ends_with("_seconds"), "{name}:\n{page}");
        }
    }
}
