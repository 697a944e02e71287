//! `Fault<T>`: what is told about a message that could not be handled, as MassTransit v8 writes it.
//!
//! Made by the pipeline when the last retry has failed; consumed like any other message, also by foreign services.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::envelope::Host;
use crate::failure::Failure;
use crate::message::Message;
use crate::name::TypeName;
use crate::time::Timestamp;

const NAMESPACE: &str = "MassTransit";

/// A message of type `T` could not be handled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "T: serde::de::DeserializeOwned"))]
pub struct Fault<T> {
    /// Id of the fault.
    #[serde(default)]
    pub fault_id: Uuid,
    /// Id of the message.
    #[serde(default)]
    pub faulted_message_id: Option<Uuid>,
    /// When it was given up.
    #[serde(default)]
    pub timestamp: Option<Timestamp>,
    /// What went wrong, outermost first.
    #[serde(default)]
    pub exceptions: Vec<ExceptionInfo>,
    /// Where it went wrong.
    #[serde(default)]
    pub host: Option<Host>,
    /// The message's types as URNs.
    #[serde(default)]
    pub fault_message_types: Vec<String>,
    /// The message.
    pub message: T,
}

/// An error, in the words of the envelope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExceptionInfo {
    /// Name of the error's type.
    pub exception_type: Option<String>,
    /// What caused it.
    pub inner_exception: Option<Box<ExceptionInfo>>,
    /// Empty here: errors of this language carry no stack.
    pub stack_trace: Option<String>,
    /// The text.
    pub message: Option<String>,
    /// Name of the program.
    pub source: Option<String>,
    /// Anything else.
    pub data: Option<Value>,
}

impl ExceptionInfo {
    /// The failure with its causes nested.
    pub fn of(failure: &Failure, source: Option<&str>) -> Self {
        let mut inner = None;
        for cause in failure.causes().into_iter().rev() {
            inner = Some(Box::new(Self {
                exception_type: Some("cause".into()),
                inner_exception: inner,
                message: Some(cause),
                ..Self::default()
            }));
        }
        Self {
            exception_type: Some(failure.kind().into()),
            inner_exception: inner,
            stack_trace: Some(String::new()),
            message: Some(failure.to_string()),
            source: source.map(str::to_owned),
            data: None,
        }
    }
}

impl<T: Message> Message for Fault<T> {
    fn name() -> TypeName {
        fault_of(T::name())
    }

    /// A fault of a supertype is a fault as well, and every one is an untyped [`AnyFault`].
    fn supertypes() -> Vec<TypeName> {
        T::supertypes().into_iter().map(fault_of).chain([TypeName::new(NAMESPACE, "Fault")]).collect()
    }
}

/// The name of `Fault<T>` for a type's name.
pub fn fault_of(name: TypeName) -> TypeName {
    TypeName::new(NAMESPACE, "Fault").with_arguments(vec![name])
}

/// Any fault, whatever its message: `MassTransit:Fault`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnyFault {
    /// Id of the fault.
    #[serde(default)]
    pub fault_id: Uuid,
    /// Id of the message.
    #[serde(default)]
    pub faulted_message_id: Option<Uuid>,
    /// When it was given up.
    #[serde(default)]
    pub timestamp: Option<Timestamp>,
    /// What went wrong.
    #[serde(default)]
    pub exceptions: Vec<ExceptionInfo>,
    /// The message's types as URNs.
    #[serde(default)]
    pub fault_message_types: Vec<String>,
}

impl Message for AnyFault {
    fn name() -> TypeName {
        TypeName::new(NAMESPACE, "Fault")
    }
}

/// A body that could not be read at all: `MassTransit:ReceiveFault`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiveFault {
    /// Id of the fault.
    pub fault_id: Uuid,
    /// Id of the message, where the properties had one.
    pub faulted_message_id: Option<Uuid>,
    /// When it was given up.
    pub timestamp: Option<Timestamp>,
    /// Why it could not be read.
    pub exceptions: Vec<ExceptionInfo>,
    /// Where.
    pub host: Option<Host>,
    /// Unknown: empty.
    pub fault_message_types: Vec<String>,
    /// Its content type.
    pub content_type: Option<String>,
}

impl Message for ReceiveFault {
    fn name() -> TypeName {
        TypeName::new(NAMESPACE, "ReceiveFault")
    }
}
