//! Why a handler failed, in the form that retry filters ask and that `Fault<T>` and the error queue show.
//!
//! Handlers return any `std::error::Error`; `?` turns it into a [`Failure`], which remembers the error's type by name and can be asked
//! for the error itself. Not here: errors of transports and stores, which are values of their own.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A failed attempt. Cheap to clone.
///
/// It does not implement `std::error::Error` itself, so that every error converts into it by `?`.
///
/// ```
/// use stele_bus::Failure;
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     Ok(text.parse()?)
/// }
///
/// let failure = parse("seven").unwrap_err();
/// assert_eq!(failure.kind(), "core::num::error::ParseIntError");
/// assert!(failure.downcast_ref::<std::num::ParseIntError>().is_some());
/// assert!(!failure.is_last() && Failure::last("Shop.Closed", "for good").is_last());
/// ```
#[derive(Clone)]
pub struct Failure(Arc<Inner>);

struct Inner {
    kind: &'static str,
    text: String,
    error: Option<Box<dyn ErrorAny>>,
    last: bool,
}

/// An error that can be asked for its concrete type.
trait ErrorAny: Error + Send + Sync + 'static {
    fn as_any(&self) -> &dyn Any;
    fn as_error(&self) -> &(dyn Error + 'static);
}

impl<E: Error + Send + Sync + 'static> ErrorAny for E {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl Failure {
    /// A failure that is only a text; `kind` stands where the error's type would.
    pub fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, text: text.into(), error: None, last: false }))
    }

    /// A failure that no retry can mend: it goes straight to the error queue.
    pub fn last(kind: &'static str, text: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, text: text.into(), error: None, last: true }))
    }

    /// The name of the error's type.
    pub fn kind(&self) -> &'static str {
        self.0.kind
    }

    /// Whether no retry can mend it.
    pub fn is_last(&self) -> bool {
        self.0.last
    }

    /// The error, if it is of type `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        // Two dereferences: the trait object inside the box, not the box.
        self.0.error.as_ref().and_then(|error| (**error).as_any().downcast_ref())
    }

    /// Texts of what caused it, nearest first; at most eight.
    pub fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut next = self.0.error.as_ref().and_then(|error| (**error).as_error().source());
        while let Some(error) = next.filter(|_| causes.len() < 8) {
            causes.push(error.to_string());
            next = error.source();
        }
        causes
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Arc::new(Inner {
            kind: std::any::type_name::<E>(),
            text: error.to_string(),
            error: Some(Box::new(error)),
            last: false,
        }))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.text)
    }
}
