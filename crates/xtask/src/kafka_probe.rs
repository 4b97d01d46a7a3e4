//! The smallest possible Kafka client: one ApiVersions request, to see that a broker answers.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const API_VERSIONS: i16 = 18;
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A whole frame: length, header version 1, an empty ApiVersions version 0 body.
pub(crate) fn api_versions_request(correlation_id: i32) -> Vec<u8> {
    let client_id = b"xtask";
    let mut body = Vec::new();
    body.extend_from_slice(&API_VERSIONS.to_be_bytes());
    body.extend_from_slice(&0_i16.to_be_bytes());
    body.extend_from_slice(&correlation_id.to_be_bytes());
    body.extend_from_slice(&(client_id.len() as i16).to_be_bytes());
    body.extend_from_slice(client_id);
    let mut frame = (body.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    frame
}

/// Asks for the API versions on a connection of its own.
pub(crate) async fn answers(address: SocketAddr) -> anyhow::Result<()> {
    let mut connection = TcpStream::connect(address).await?;
    timeout(ANSWER_LIMIT, ask(&mut connection, 7)).await?
}

/// Asks for the API versions on an open connection and checks the answer's shape.
pub(crate) async fn ask(connection: &mut TcpStream, correlation_id: i32) -> anyhow::Result<()> {
    connection.write_all(&api_versions_request(correlation_id)).await?;
    let length = connection.read_i32().await?;
    ensure!((10..100_000).contains(&length), "an ApiVersions answer of {length} bytes");
    let mut answer = vec![0; length as usize];
    connection.read_exact(&mut answer).await?;
    let echoed = i32::from_be_bytes(answer[0..4].try_into().expect("four bytes"));
    let error_code = i16::from_be_bytes(answer[4..6].try_into().expect("two bytes"));
    if echoed != correlation_id || error_code != 0 {
        bail!("ApiVersions was answered with correlation id {echoed}, error code {error_code}");
    }
    Ok(())
}
