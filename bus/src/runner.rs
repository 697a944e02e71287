//! Keeps an endpoint receiving: subscribes, hands messages to the pipeline, starts again after a lost connection, stops in order.
//!
//! One task per endpoint, started by [`crate::Bus::start`]. What must hold: at most `concurrency` messages (or one per lane) are handled
//! at once; after `stop` no message is begun, and what is in hand is finished or, past the deadline, left to the broker. A broker that does
//! not answer holds nobody beyond the deadline.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::endpoint::Endpoint;
use crate::health::Beat;
use crate::pipeline::{self, Core, Ready};
use crate::policy::kill_switch::Switch;
use crate::topology::Topology;
use crate::transport::{Incoming, Subscription, TransportError, Verdict};

/// Waits between attempts to subscribe: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// One endpoint's task.
pub(crate) struct Runner {
    pub(crate) core: Arc<Core>,
    pub(crate) endpoint: Arc<Endpoint>,
    /// Becomes true when the bus stops.
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) beat: Arc<Beat>,
    /// How long what is in hand may take when the bus stops.
    pub(crate) patience: Duration,
}

/// Why a subscription is over.
enum Over {
    Stopped,
    Lost,
    Killed(Duration),
}

impl Runner {
    /// Run until stopped. `ready` is told how the first subscription went.
    pub(crate) async fn run(self, ready: oneshot::Sender<Result<(), TransportError>>) {
        let mut ready = Some(ready);
        let mut backoff = BACKOFF.0;
        loop {
            let subscribed = tokio::select! {
                biased;
                () = stopped(self.stop.clone()) => return,
                subscribed = self.subscribe() => subscribed,
            };
            match subscribed {
                Ok(subscription) => {
                    ready.take().map(|ready| ready.send(Ok(())));
                    backoff = BACKOFF.0;
                    self.beat.set(true);
                    let over = self.serve(subscription).await;
                    self.beat.set(false);
                    match over {
                        Over::Stopped => return,
                        Over::Lost => tracing::warn!(
                            endpoint = self.endpoint.name,
                            "subscription lost, subscribing again"
                        ),
                        Over::Killed(pause) => {
                            tracing::error!(
                                endpoint = self.endpoint.name,
                                ?pause,
                                "kill switch: receiving stops"
                            );
                            if self.stopped_within(pause).await {
                                return;
                            }
                        }
                    }
                }
                Err(error) => {
                    if let Some(ready) = ready.take() {
                        let refused = !matches!(error, TransportError::Unavailable(_));
                        let _ = ready.send(Err(error)); // the starter may have given up waiting
                        if refused {
                            return;
                        }
                    } else {
                        tracing::warn!(endpoint = self.endpoint.name, %error, "could not subscribe");
                    }
                    if self.stopped_within(backoff).await {
                        return;
                    }
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    async fn subscribe(&self) -> Result<Subscription, TransportError> {
        let topology = Topology { endpoints: vec![self.endpoint.topology.clone()] };
        self.core.transport.declare(&topology).await?;
        let lanes = self.endpoint.lanes.unwrap_or(0);
        let credit = self.endpoint.concurrency.max(lanes);
        self.core.transport.subscribe(&self.endpoint.name, credit).await
    }

    /// True if the bus stopped in the meantime.
    async fn stopped_within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, stopped(self.stop.clone())).await.is_ok()
    }

    async fn serve(&self, subscription: Subscription) -> Over {
        let Subscription { mut incoming, stop } = subscription;
        let mut hands = Hands::new(self);
        let over = loop {
            let next = tokio::select! {
                biased;
                () = stopped(self.stop.clone()) => break Over::Stopped,
                next = hands.next(&mut incoming) => next,
            };
            let Some((message, permit)) = next else { break Over::Lost };
            if let Some(pause) = self.endpoint.switch.as_ref().and_then(Switch::tripped) {
                let _ = message.settle.settle(Verdict::Release).await; // a lost connection releases it as well
                break Over::Killed(pause);
            }
            hands.take(message, permit).await;
        };
        let deadline = Instant::now() + self.patience;
        let give_back = async {
            stop.stop().await;
            incoming.close();
            while let Ok(message) = incoming.try_recv() {
                let _ = message.settle.settle(Verdict::Release).await; // a lost connection releases it as well
            }
        };
        // A time-out of either is a broker that does not answer: it finds out for itself.
        if !matches!(over, Over::Lost) {
            let _ = timeout_at(deadline, give_back).await;
        }
        hands.finish(deadline).await;
        if !matches!(over, Over::Lost) {
            let _ = timeout_at(deadline, stop.close()).await;
        }
        over
    }
}

/// Resolves when the bus stops.
pub(crate) async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await; // a sender that is gone has stopped as well
}

/// The tasks of one subscription.
struct Hands<'a> {
    runner: &'a Runner,
    tasks: JoinSet<()>,
    permits: Arc<Semaphore>,
    lanes: Vec<mpsc::UnboundedSender<Ready>>,
}

impl<'a> Hands<'a> {
    fn new(runner: &'a Runner) -> Self {
        let mut tasks = JoinSet::new();
        let lanes = runner.endpoint.lanes.map_or(0, usize::from);
        let lanes = (0..lanes).map(|_| lane(runner, &mut tasks)).collect();
        let permits = Arc::new(Semaphore::new(usize::from(runner.endpoint.concurrency)));
        Self { runner, tasks, permits, lanes }
    }

    /// The next message, when there is room for it. With lanes there always is: the broker sends no more than its credit.
    async fn next(
        &mut self,
        incoming: &mut mpsc::Receiver<Incoming>,
    ) -> Option<(Incoming, Option<OwnedSemaphorePermit>)> {
        let permit =
            if self.lanes.is_empty() { self.permits.clone().acquire_owned().await.ok() } else { None };
        Some((incoming.recv().await?, permit))
    }

    async fn take(&mut self, message: Incoming, permit: Option<OwnedSemaphorePermit>) {
        while self.tasks.try_join_next().is_some() {}
        let (core, endpoint, stop) =
            (self.runner.core.clone(), self.runner.endpoint.clone(), self.runner.stop.clone());
        if self.lanes.is_empty() {
            self.tasks.spawn(async move {
                if let Some(ready) = pipeline::receive(&core, &endpoint, message).await {
                    pipeline::handle(&core, &endpoint, ready, stopped(stop)).await;
                }
                drop(permit);
            });
            return;
        }
        let Some(ready) = pipeline::receive(&core, &endpoint, message).await else { return };
        // Without a key, any lane will do, but always the same for one message.
        let key = ready.route.run.key(&ready.delivery);
        let mut hasher = DefaultHasher::new();
        match key {
            Some(key) => key.hash(&mut hasher),
            None => ready.delivery.message_id().hash(&mut hasher),
        }
        let lane = usize::try_from(hasher.finish() % self.lanes.len() as u64).unwrap_or(0);
        let _ = self.lanes[lane].send(ready); // a lane ends only with its subscription
    }

    /// Let what is in hand finish; past the deadline, leave it.
    async fn finish(mut self, deadline: Instant) {
        self.lanes.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout_at(deadline, all).await.is_err() {
            tracing::warn!(
                endpoint = self.runner.endpoint.name,
                "stopped with messages in hand: they will be delivered again"
            );
        }
    }
}

/// A task that handles messages one after the other.
fn lane(runner: &Runner, tasks: &mut JoinSet<()>) -> mpsc::UnboundedSender<Ready> {
    let (sender, mut receiver) = mpsc::unbounded_channel(); // bounded by the subscription's credit
    let (core, endpoint, stop) = (runner.core.clone(), runner.endpoint.clone(), runner.stop.clone());
    tasks.spawn(async move {
        while let Some(ready) = receiver.recv().await {
            pipeline::handle(&core, &endpoint, ready, stopped(stop.clone())).await;
        }
    });
    sender
}
