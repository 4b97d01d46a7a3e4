//! What a client says to log in: PLAIN's message, OAUTHBEARER's, SCRAM's first one, and its last one behind a first one that
//! is right. Nobody gets in, but by chance that no fuzzer has.

use keyway_access::{BearerLogin, ClientFirst, PlainLogin, ScramCredential, ScramExchange, ScramMechanism};
use std::sync::LazyLock;

static CREDENTIAL: LazyLock<ScramCredential> =
    LazyLock::new(|| ScramCredential::of_password(ScramMechanism::Sha256, "pencil", vec![7; 16], 4096));

/// See the module.
pub fn run(data: &[u8]) {
    let _ = PlainLogin::parse(data);
    if let Ok(login) = BearerLogin::parse(data) {
        assert!(!login.token.is_empty());
    }
    if let Ok(first) = ClientFirst::parse(data) {
        let (exchange, answer) = ScramExchange::begin(first, CREDENTIAL.clone(), "nonce");
        assert!(answer.starts_with(b"r="));
        assert!(exchange.finish(data).is_err(), "a first message is no last one");
    }
    let first = ClientFirst::parse(b"n,,n=user,r=abc").expect("it is right");
    let (exchange, _) = ScramExchange::begin(first, CREDENTIAL.clone(), "nonce");
    assert!(exchange.finish(data).is_err(), "somebody got in");
}
