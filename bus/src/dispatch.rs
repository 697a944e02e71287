//! One attempt as a tower service, so that layers of anybody's making can surround it.
//!
//! Built by the endpoint's builder from the inside out; called by the pipeline once per attempt. Layers stand inside the retry loop and
//! around the unit of work: a time-out layer's error is retried like a handler's. Not here: retry, redelivery, faults, whose order is
//! semantics ([`crate::policy`]).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use tower_layer::Layer;
use tower_service::Service;

use crate::delivery::Delivery;
use crate::endpoint::Route;
use crate::failure::Failure;

/// The request: one attempt to handle one delivery.
#[derive(Clone)]
pub struct Attempt {
    /// The message.
    pub delivery: Arc<Delivery>,
    /// 0 the first time, then the number of the retry.
    pub number: u32,
    pub(crate) route: Arc<Route>,
}

/// Why an attempt failed, as an error that passes through layers.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AttemptError(pub Failure);

/// What layers speak of.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Answer = Pin<Box<dyn Future<Output = Result<(), AttemptError>> + Send>>;

/// The service that layers wrap: an attempt goes in, nothing or a failure comes out.
pub struct Dispatch(Box<dyn Shared>);

/// A service that can be cloned behind a pointer.
trait Shared: Send + Sync {
    fn call(&self, attempt: Attempt) -> Answer;
    fn clone_box(&self) -> Box<dyn Shared>;
}

impl Clone for Dispatch {
    fn clone(&self) -> Self {
        Self(self.0.clone_box())
    }
}

impl Service<Attempt> for Dispatch {
    type Response = ();
    type Error = AttemptError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(Ok(())) // readiness is asked of the layers when they are called: see `Layered`
    }

    fn call(&mut self, attempt: Attempt) -> Answer {
        self.0.call(attempt)
    }
}

impl Dispatch {
    pub(crate) fn of(innermost: impl Fn(Attempt) -> Answer + Clone + Send + Sync + 'static) -> Self {
        Self(Box::new(Innermost(innermost)))
    }

    pub(crate) async fn attempt(&self, attempt: Attempt) -> Result<(), Failure> {
        self.0.call(attempt).await.map_err(|error| error.0)
    }
}

#[derive(Clone)]
struct Innermost<F>(F);

impl<F: Fn(Attempt) -> Answer + Clone + Send + Sync + 'static> Shared for Innermost<F> {
    fn call(&self, attempt: Attempt) -> Answer {
        (self.0)(attempt)
    }

    fn clone_box(&self) -> Box<dyn Shared> {
        Box::new(self.clone())
    }
}

/// A layer whose type is forgotten.
pub(crate) type AnyLayer = Arc<dyn Fn(Dispatch) -> Dispatch + Send + Sync>;

/// Forget a layer's type.
pub(crate) fn layer<L>(layer: L) -> AnyLayer
where
    L: Layer<Dispatch> + Send + Sync + 'static,
    L::Service: Service<Attempt, Response = ()> + Clone + Send + Sync + 'static,
    <L::Service as Service<Attempt>>::Error: Into<BoxError>,
    <L::Service as Service<Attempt>>::Future: Send,
{
    Arc::new(move |inner| Dispatch(Box::new(Layered(layer.layer(inner)))))
}

#[derive(Clone)]
struct Layered<S>(S);

impl<S> Shared for Layered<S>
where
    S: Service<Attempt, Response = ()> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    fn call(&self, attempt: Attempt) -> Answer {
        let mut service = self.0.clone();
        Box::pin(async move {
            std::future::poll_fn(|cx| service.poll_ready(cx)).await.map_err(|error| unboxed(error.into()))?;
            service.call(attempt).await.map_err(|error| unboxed(error.into()))
        })
    }

    fn clone_box(&self) -> Box<dyn Shared> {
        Box::new(self.clone())
    }
}

/// The failure that a handler reported, or the error that a layer made of its own.
fn unboxed(error: BoxError) -> AttemptError {
    match error.downcast::<AttemptError>() {
        Ok(error) => *error,
        Err(error) => AttemptError(Failure::new("layer", error.to_string())),
    }
}
