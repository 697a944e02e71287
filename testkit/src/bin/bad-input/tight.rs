//! A broker that is short of something: each scene starts one of its own, takes the thing away, and checks who is still served.

mod disk;
mod handles;
mod seats;
mod unfinished;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stele_testkit::broker::Broker;
use stele_testkit::siege::Stage;

use crate::wire::{Connection, PATIENCE};

/// One thing that is short.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Stage) -> Running,
}

/// A scene under way; at its end it says in a line what was seen.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<String>>>>;

pub(crate) const SCENES: &[Scene] = &[
    Scene { name: "connections-max", run: |stage| Box::pin(seats::run(stage)) },
    Scene { name: "unfinished", run: |stage| Box::pin(unfinished::run(stage)) },
    Scene { name: "no-handles", run: |stage| Box::pin(handles::run(stage)) },
    Scene { name: "full-disk", run: |stage| Box::pin(disk::run(stage)) },
];

/// What the broker did with connections of which there were too many.
#[derive(Default)]
struct Crowd {
    served: Vec<Connection>,
    refused: usize,
    waiting: usize,
}

/// Open so many connections, together; what has no answer for so long counts as one that waits.
async fn crowd(broker: &Broker, count: usize, patience: Duration) -> Result<Crowd> {
    let mut crowd = Crowd::default();
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..count {
        attempts.spawn(tokio::time::timeout(patience, Connection::open(broker.amqp())));
    }
    while let Some(attempt) = attempts.join_next().await {
        match attempt? {
            Ok(Ok(connection)) => crowd.served.push(connection),
            Ok(Err(_)) => crowd.refused += 1,
            Err(_) => crowd.waiting += 1,
        }
    }
    Ok(crowd)
}

/// A connection that must be served, as soon as the broker has noticed that others are gone.
async fn served_again(broker: &mut Broker) -> Result<Connection> {
    let attempts = async {
        loop {
            if let Ok(connection) = Connection::open(broker.amqp()).await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let served = tokio::time::timeout(PATIENCE, attempts).await.context("connect after others have gone")?;
    lives(broker)?;
    Ok(served)
}

fn lives(broker: &mut Broker) -> Result<()> {
    ensure!(broker.alive()?, "the broker ended\n{}", broker.last_words());
    Ok(())
}
