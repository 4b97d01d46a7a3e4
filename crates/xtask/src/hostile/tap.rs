//! A relay that keeps what clients say.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Bytes that are kept of a connection.
const BYTES_MAX: usize = 256 << 10;

type Sessions = Arc<Mutex<Vec<Vec<u8>>>>;

/// A running relay; dropping it ends it and its connections.
pub(super) struct Tap {
    pub(super) address: SocketAddr,
    sessions: Sessions,
    serving: JoinHandle<()>,
}

impl Tap {
    pub(super) async fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, sessions) = (listener.local_addr()?, Sessions::default());
        let serving = tokio::spawn(serve(listener, server, sessions.clone()));
        Ok(Self { address, sessions, serving })
    }

    /// What each client's connection has said so far.
    pub(super) fn sessions(&self) -> Vec<Vec<u8>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, sessions: Sessions) {
    let mut relays = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let place = {
            let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.push(Vec::new());
            sessions.len() - 1
        };
        relays.spawn(relay(client, server, place, sessions.clone()));
    }
}

async fn relay(client: TcpStream, server: SocketAddr, place: usize, sessions: Sessions) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let said = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            let bytes = &buffer[..count];
            {
                let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
                let room = BYTES_MAX - sessions[place].len();
                sessions[place].extend_from_slice(&bytes[..count.min(room)]);
            }
            if to_server.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = said => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}
