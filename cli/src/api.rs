//! One request to the HTTP API of a broker, with a login.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;

/// Longest wait for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest answer, bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What the broker whose API is at `address` (host:port) answers.
///
/// # Errors
/// Nobody listens, the answer is another than 200, late, too long, or not JSON.
pub(crate) async fn ask(
    method: Method,
    address: &str,
    path: &str,
    (user, password): (&str, &str),
) -> anyhow::Result<Value> {
    let asked = tokio::time::timeout(PATIENCE, send(method, address, path, user, password));
    let (status, body) = asked.await.context("no answer in time")??;
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => anyhow::bail!("the login of user {user} is refused"),
        StatusCode::FORBIDDEN => anyhow::bail!("user {user} may not ask for this"),
        other => anyhow::bail!("the answer was {other}"),
    }
    serde_json::from_slice(&body).context("the answer is not JSON")
}

async fn send(
    method: Method,
    address: &str,
    path: &str,
    user: &str,
    password: &str,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender; its error is the sender's too.
    tokio::spawn(connection);
    let login = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address)
        .header(header::AUTHORIZATION, login)
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    Ok((status, body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes()))
}
