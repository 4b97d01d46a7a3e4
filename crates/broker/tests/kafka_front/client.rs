//! A connection that speaks frames and does nothing by itself.

use bytes::{Bytes, BytesMut};
use keyway_kafka_wire::{
    ApiKey, Decoder, FrameCutter,
    messages::{Request, Response},
    request_frame,
};
use keyway_runtime::Stream;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: Box<dyn Stream>,
    received: BytesMut,
    correlation_id: i32,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::on(stream)
    }

    /// On a connection that is there already.
    pub(crate) fn on(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), received: BytesMut::new(), correlation_id: 0 }
    }

    /// Sends a request and reads its response to the last byte.
    pub(crate) async fn call(&mut self, request: &Request, version: i16) -> Response {
        let correlation_id = self.send(request, version).await;
        self.receive(request.api_key(), version, correlation_id).await
    }

    /// Sends a request; its correlation id.
    pub(crate) async fn send(&mut self, request: &Request, version: i16) -> i32 {
        let frame = self.request(request, version);
        self.stream.write_all(&frame).await.unwrap();
        self.correlation_id
    }

    /// Sends a request to a broker that may have closed already.
    pub(crate) async fn try_send(&mut self, request: &Request, version: i16) {
        let frame = self.request(request, version);
        self.send_bytes(&frame).await;
    }

    fn request(&mut self, request: &Request, version: i16) -> Bytes {
        self.correlation_id += 1;
        let api = request.api_key();
        let body = |out: &mut BytesMut| request.encode(out, version);
        let frame = request_frame(api, version, self.correlation_id, Some("raw"), body);
        frame.unwrap_or_else(|error| panic!("{} {version}: {error}", api.name()))
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        // The broker may close before it has read everything.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Tells the broker that nothing more comes.
    pub(crate) async fn finish_sending(&mut self) {
        // It may have closed already.
        let _ = self.stream.shutdown().await;
    }

    pub(crate) async fn receive(&mut self, api: ApiKey, version: i16, correlation_id: i32) -> Response {
        let frame = self
            .frame()
            .await
            .unwrap_or_else(|| panic!("{} {version}: closed instead of answered", api.name()));
        let mut input = Decoder::new(frame.slice(4..));
        assert_eq!(frame[..4], correlation_id.to_be_bytes(), "{} {version}", api.name());
        if api.response_header_version(version) == 1 {
            assert_eq!(frame[4], 0, "no tagged fields in the header");
            input = Decoder::new(frame.slice(5..));
        }
        let response = Response::decode(api, &mut input, version);
        let response = response.unwrap_or_else(|error| panic!("{} {version}: {error}", api.name()));
        input.finish().unwrap_or_else(|error| panic!("{} {version}: {error}", api.name()));
        response
    }

    /// The next frame, or `None` if the broker closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(frame) = FrameCutter::new(usize::MAX).cut(&mut self.received).unwrap() {
                    return Some(frame);
                }
                match self.stream.read_buf(&mut self.received).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        })
        .await
        .expect("an answer or an end within the time allowed")
    }
}

/// The response of the expected API.
macro_rules! call {
    ($client:expr, $api:ident, $version:expr, $request:expr) => {{
        let request = keyway_kafka_wire::messages::Request::$api($request);
        match $client.call(&request, $version).await {
            keyway_kafka_wire::messages::Response::$api(response) => response,
            other => panic!("not what was asked for: {other:?}"),
        }
    }};
}

pub(crate) use call;
