//! Consumers: a trait, and plain async functions whose arguments say what they need.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use stele_bus::{Context, Failure, Message, Msg, Respond, State};
//!
//! #[derive(Message, Serialize, Deserialize)]
//! #[message(urn = "Shop:Ask")]
//! struct Ask;
//! #[derive(Message, Serialize, Deserialize)]
//! #[message(urn = "Shop:Answer")]
//! struct Answer(u32);
//!
//! async fn answer(Msg(_ask): Msg<Ask>, State(number): State<u32>, cx: Context) -> Result<Respond<Answer>, Failure> {
//!     cx.publish(&Answer(number))?;
//!     Ok(Respond(Answer(number)))
//! }
//! ```
//!
//! The first argument is always the message, so the builder knows the type; up to eight more are [`Extract`]ors, which are owned:
//! a borrowed one would not pass through the blanket implementation. Not here: retries and what else surrounds a call.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::context::Context;
use crate::delivery::Delivery;
use crate::failure::Failure;
use crate::fold;
use crate::message::Message;
use crate::transport::BoxFuture;

/// Takes messages of type `M`. Functions become one by [`Handler`]; implement it for state of your own.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use stele_bus::{Consumer, Context, Failure, Message};
///
/// # #[derive(Message, Serialize, Deserialize)]
/// # #[message(urn = "Shop:Ordered")]
/// # struct Ordered { order: u32 }
/// # #[derive(Message, Serialize, Deserialize)]
/// # #[message(urn = "Shop:Billed")]
/// # struct Billed { order: u32, cents: u64 }
/// struct Billing {
///     cents: u64,
/// }
///
/// impl Consumer<Ordered> for Billing {
///     async fn consume(&self, Ordered { order }: Ordered, cx: Context) -> Result<(), Failure> {
///         cx.publish(&Billed { order, cents: self.cents })?;
///         Ok(())
///     }
/// }
///
/// # let bus = stele_bus::Bus::builder(stele_bus::transport::memory::Memory::default());
/// let bus = bus.endpoint("billing", |e| e.consumer(Billing { cents: 1250 }));
/// # bus.build().unwrap();
/// ```
pub trait Consumer<M: Message>: Send + Sync + 'static {
    /// Take one message. An error fails the attempt; what was published through `cx` leaves only after success.
    fn consume(&self, message: M, cx: Context) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The message, as the first argument of a handler.
#[derive(Clone, Debug)]
pub struct Msg<M>(pub M);

/// A value that was given to the builder, cloned.
#[derive(Clone, Debug)]
pub struct State<T>(pub T);

/// The delivery: ids, addresses, headers.
#[derive(Clone, Debug)]
pub struct Meta(pub Arc<Delivery>);

impl std::ops::Deref for Meta {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.0
    }
}

/// An answer: sent to the request's response address, if it has one, when the attempt has succeeded.
#[derive(Clone, Debug)]
pub struct Respond<M>(pub M);

/// One of two answers.
#[derive(Clone, Debug)]
pub enum Either<A, B> {
    /// The one.
    Left(A),
    /// The other.
    Right(B),
}

/// A value that a handler can ask for.
pub trait Extract: Sized + Send + 'static {
    /// Take it from the attempt. An error fails the attempt before the handler is called.
    fn extract(cx: &Context) -> impl Future<Output = Result<Self, Failure>> + Send;
}

impl Extract for Context {
    async fn extract(cx: &Context) -> Result<Self, Failure> {
        Ok(cx.clone())
    }
}

impl Extract for Meta {
    async fn extract(cx: &Context) -> Result<Self, Failure> {
        Ok(Self(cx.delivery().clone()))
    }
}

impl<T: Clone + Send + Sync + 'static> Extract for State<T> {
    async fn extract(cx: &Context) -> Result<Self, Failure> {
        cx.state::<T>().map(|value| Self((*value).clone())).ok_or_else(|| {
            let name = std::any::type_name::<T>();
            Failure::last(
                "stele_bus::MissingState",
                format!("no state of type {name} was given to the builder"),
            )
        })
    }
}

/// What a handler may return.
pub trait Outcome {
    /// Success, after answers were left with the attempt, or failure.
    fn settle(self, cx: &Context) -> Result<(), Failure>;
}

impl Outcome for () {
    fn settle(self, _cx: &Context) -> Result<(), Failure> {
        Ok(())
    }
}

impl<M: Message> Outcome for Respond<M> {
    fn settle(self, cx: &Context) -> Result<(), Failure> {
        cx.respond(&self.0)?;
        Ok(())
    }
}

impl<T: Outcome> Outcome for Option<T> {
    fn settle(self, cx: &Context) -> Result<(), Failure> {
        self.map_or(Ok(()), |answer| answer.settle(cx))
    }
}

impl<A: Outcome, B: Outcome> Outcome for Either<A, B> {
    fn settle(self, cx: &Context) -> Result<(), Failure> {
        match self {
            Self::Left(answer) => answer.settle(cx),
            Self::Right(answer) => answer.settle(cx),
        }
    }
}

impl<T: Outcome, E: Into<Failure>> Outcome for Result<T, E> {
    fn settle(self, cx: &Context) -> Result<(), Failure> {
        self.map_err(Into::into)?.settle(cx)
    }
}

/// An async function that takes a message first and extractors after it. `A` is the list of the latter.
pub trait Handler<M: Message, A>: Send + Sync + 'static {
    /// Call it.
    fn call(&self, message: M, cx: Context) -> impl Future<Output = Result<(), Failure>> + Send;
}

macro_rules! handlers {
    ($($argument:ident)*) => {
        impl<F, M, Fut, $($argument,)*> Handler<M, ($($argument,)*)> for F
        where
            F: Fn(Msg<M>, $($argument),*) -> Fut + Send + Sync + 'static,
            M: Message,
            Fut: Future<Output: Outcome> + Send,
            $($argument: Extract,)*
        {
            #[allow(non_snake_case, reason = "arguments are named after their types")]
            async fn call(&self, message: M, cx: Context) -> Result<(), Failure> {
                $(let $argument = $argument::extract(&cx).await?;)*
                let answer = self(Msg(message), $($argument),*).await;
                answer.settle(&cx)
            }
        }
    };
}

handlers!();
handlers!(A1);
handlers!(A1 A2);
handlers!(A1 A2 A3);
handlers!(A1 A2 A3 A4);
handlers!(A1 A2 A3 A4 A5);
handlers!(A1 A2 A3 A4 A5 A6);
handlers!(A1 A2 A3 A4 A5 A6 A7);
handlers!(A1 A2 A3 A4 A5 A6 A7 A8);

/// A handler as a consumer.
pub(crate) struct Function<F, A>(pub(crate) F, pub(crate) PhantomData<fn() -> A>);

impl<M: Message, A: 'static, F: Handler<M, A>> Consumer<M> for Function<F, A> {
    fn consume(&self, message: M, cx: Context) -> impl Future<Output = Result<(), Failure>> + Send {
        self.0.call(message, cx)
    }
}

/// A consumer whose type is forgotten: JSON in.
pub(crate) trait Erased: Send + Sync {
    fn consume(&self, cx: Context) -> BoxFuture<'_, Result<(), Failure>>;
    /// What the message keeps its order with; `None` also if it cannot be read.
    fn key(&self, delivery: &Delivery) -> Option<String>;
}

pub(crate) struct Typed<M, C>(pub(crate) C, pub(crate) PhantomData<fn() -> M>);

impl<M: Message, C: Consumer<M>> Erased for Typed<M, C> {
    fn consume(&self, cx: Context) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let message = read::<M>(cx.delivery())?;
            self.0.consume(message, cx).await
        })
    }

    fn key(&self, delivery: &Delivery) -> Option<String> {
        read::<M>(delivery).ok()?.key()
    }
}

/// The payload as a value. No retry can mend one that does not fit.
pub(crate) fn read<M: Message>(delivery: &Delivery) -> Result<M, Failure> {
    fold::from_slice(delivery.envelope.message.0.get().as_bytes()).map_err(|error| {
        Failure::last("stele_bus::Unreadable", format!("payload is not a {}: {error}", M::name()))
    })
}
