//! Whether the bus is well: for a service's health endpoint.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

/// The state of a bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// How it is.
    pub status: Status,
    /// The broker can be spoken to.
    pub connected: bool,
    /// Each endpoint, and whether it receives.
    pub endpoints: Vec<(String, bool)>,
}

/// How a bus is, in the words of health endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Connected, every endpoint receives.
    Healthy,
    /// Connected, some endpoint does not receive (kill switch, subscribing again).
    Degraded,
    /// Not connected, or not started.
    Unhealthy,
}

/// Whether an endpoint receives.
#[derive(Debug, Default)]
pub(crate) struct Beat(AtomicBool);

impl Beat {
    pub(crate) fn set(&self, receives: bool) {
        self.0.store(receives, Ordering::Relaxed); // a hint for people; orders nothing
    }

    pub(crate) fn receives(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
