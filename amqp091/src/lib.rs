//! The AMQP 0-9-1 dialect: codec and session. Pure.
