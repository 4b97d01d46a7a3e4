//! No API is answered to whom has not logged in, whatever it has sent before: every version of each, on real connections.

use crate::{
    broker::TestBroker,
    client::{Client, call},
    every_version,
    requests::create_topic,
    sasl,
};
use keyway_kafka_wire::{
    API_VERSIONS, ApiKey,
    messages::{ApiVersionsRequest, Request},
};
use keyway_record::TopicId;

/// What a client has done before it asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    Nothing,
    AskedVersions,
    /// Named PLAIN.
    Begun,
    /// Got its challenge of SCRAM.
    Challenged,
    /// Sent a wrong password, and was told so.
    Refused,
}

impl Before {
    const ALL: [Self; 5] = [Self::Nothing, Self::AskedVersions, Self::Begun, Self::Challenged, Self::Refused];

    async fn connect(self, broker: &TestBroker) -> Client {
        let mut client = sasl::connect(broker).await;
        match self {
            Self::Nothing => {}
            Self::AskedVersions => {
                let request = ApiVersionsRequest {
                    client_software_name: "test".to_owned(),
                    client_software_version: "1".to_owned(),
                };
                assert_eq!(call!(client, ApiVersions, 3, request).error_code, 0);
            }
            Self::Begun => assert_eq!(sasl::handshake(&mut client, "PLAIN", 1).await, 0),
            Self::Challenged => {
                sasl::handshake(&mut client, "SCRAM-SHA-256", 1).await;
                assert_eq!(sasl::message(&mut client, b"n,,n=alice,r=abc").await.error_code, 0);
            }
            Self::Refused => {
                sasl::handshake(&mut client, "PLAIN", 1).await;
                assert_eq!(sasl::message(&mut client, b"\0alice\0wrong").await.error_code, 58);
            }
        }
        client
    }

    /// Whether the API may be answered now: those that log in, in their order.
    fn allows(self, api: ApiKey) -> bool {
        match self {
            Self::Nothing => matches!(api, ApiKey::ApiVersions | ApiKey::SaslHandshake),
            Self::AskedVersions => api == ApiKey::SaslHandshake,
            // What comes is no login of anybody, and is refused in words.
            Self::Begun | Self::Challenged => api == ApiKey::SaslAuthenticate,
            Self::Refused => false,
        }
    }
}

#[tokio::test]
async fn no_api_is_answered_before_the_login() {
    let broker = sasl::broker(&[("connection.failed.authentication.delay.ms", "0")]).await;
    let id = create_topic(&mut broker.connect().await, "orders", 1).await;
    let mut cases = 0;
    for before in Before::ALL {
        for row in API_VERSIONS {
            let min = if row.api == ApiKey::Produce { 3 } else { row.min };
            for version in min..=row.max {
                check(&broker, before, row.api, version, id).await;
                cases += 1;
            }
        }
    }
    assert!(cases > 800, "{cases}");
    broker.shutdown().await;
}

async fn check(broker: &TestBroker, before: Before, api: ApiKey, version: i16, id: TopicId) {
    let mut client = before.connect(broker).await;
    let request: Request = every_version::request(api, version, id);
    client.try_send(&request, version).await;
    let answered = client.frame().await.is_some();
    assert_eq!(answered, before.allows(api), "{} {version} after {before:?}", api.name());
    if !answered {
        return;
    }
    // What was answered has let nobody in.
    client.try_send(&every_version::request(ApiKey::Metadata, 12, id), 12).await;
    assert!(client.frame().await.is_none(), "{} {version} after {before:?} lets in", api.name());
}
