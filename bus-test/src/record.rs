//! A tower layer that writes down which deliveries were handled.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use stele_bus::Delivery;
use stele_bus::dispatch::Attempt;
use tower_layer::Layer;
use tower_service::Service;

/// Deliveries whose attempt succeeded, in the order in which they did. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Vec<Arc<Delivery>>>>);

impl Record {
    pub(crate) fn deliveries(&self) -> Vec<Arc<Delivery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S> Layer<S> for Record {
    type Service = Recording<S>;

    fn layer(&self, inner: S) -> Recording<S> {
        Recording { record: self.clone(), inner }
    }
}

#[derive(Clone)]
pub(crate) struct Recording<S> {
    record: Record,
    inner: S,
}

impl<S> Service<Attempt> for Recording<S>
where
    S: Service<Attempt, Response = ()>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let (record, delivery) = (self.record.clone(), attempt.delivery.clone());
        let handling = self.inner.call(attempt);
        Box::pin(async move {
            handling.await?;
            record.0.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
            Ok(())
        })
    }
}
