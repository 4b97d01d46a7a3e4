//! The smallest possible HTTP client: one request, one answer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Sends a request on a connection of its own; the JSON of its answer. An answer other than 2xx is an error with its text.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<Value> {
    let answer = text(address, method, path, body).await?;
    if answer.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&answer).with_context(|| format!("{method} {path} is answered with {answer:?}"))
}

/// One figure of the metrics page, without labels.
pub(crate) async fn metric(address: SocketAddr, name: &str) -> anyhow::Result<u64> {
    let page = text(address, "GET", "/metrics", None).await?;
    let figure = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let figure = figure.with_context(|| format!("no {name} at /metrics"))?;
    figure.parse().with_context(|| format!("{name} is {figure:?}"))
}

async fn text(address: SocketAddr, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<String> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = async {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer =
        timeout(ANSWER_LIMIT, answer).await.with_context(|| format!("{method} {path}: no answer"))??;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("{method} {path}: no head"))?;
    let status = head.split_whitespace().nth(1).context("no status")?;
    if !status.starts_with('2') {
        bail!("{method} {path} is answered with {status}: {}", body.trim());
    }
    Ok(body.to_owned())
}
