//! Sockets as byte streams, so that TLS, gRPC and a simulated network fit beneath.

use crate::BoxFuture;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// Connections that wait to be accepted. tokio's default overflows in a burst and costs each client a second.
const LISTEN_BACKLOG: u32 = 4096;

/// A two-way byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where connections come from and go to.
pub trait Network: Send + Sync {
    /// Listens on `address`; port 0 takes a free one.
    fn listen(&self, address: SocketAddr) -> io::Result<Arc<dyn Listener>>;

    /// Connects to `address`.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;
}

/// A listening socket.
pub trait Listener: Send + Sync {
    /// The address listened on, with the port that was taken.
    fn address(&self) -> SocketAddr;

    /// The next connection and its peer.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>>;
}

/// TCP. Needs a tokio runtime.
#[derive(Debug)]
pub struct RealNetwork;

impl Network for RealNetwork {
    fn listen(&self, address: SocketAddr) -> io::Result<Arc<dyn Listener>> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart must not wait for the last process's connections to leave TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(LISTEN_BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Arc::new(RealListener { listener, address }))
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

struct RealListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener for RealListener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async {
            let (stream, peer) = self.listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as Box<dyn Stream>, peer))
        })
    }
}
