//! The relay's metrics over HTTP: any `GET` is answered with all of them, and the connection is closed.

use std::sync::Arc;
use std::time::Duration;
use stele_bus_relay::metrics::Metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// Longest time of one answer. They are given one after the other: scrapers are few.
const ANSWER: Duration = Duration::from_secs(2);
/// Largest question that is read.
const QUESTION_BYTES_MAX: usize = 8 << 10;

pub(super) async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A scraper that went away is nobody's fault.
                let _ = timeout(ANSWER, answer(stream, &metrics)).await;
            }
            Err(error) => {
                tracing::warn!(%error, "metrics are not served");
                sleep(ANSWER).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, metrics: &Metrics) -> std::io::Result<()> {
    let mut question = Vec::new();
    while !question.ends_with(b"\r\n\r\n") && question.len() < QUESTION_BYTES_MAX {
        if stream.read_buf(&mut question).await? == 0 {
            return Ok(());
        }
    }
    let body = metrics.prometheus();
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\ncontent-length:";
    stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    stream.shutdown().await
}
