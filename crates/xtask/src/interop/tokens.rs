//! Clients that log in by tokens, against a broker that has the issuer's public key.

use super::security::Secured;
use super::stage::Stage;
use crate::workspace;
use anyhow::anyhow;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Who signs tokens.
struct Issuer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    fn new() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document =
            EcdsaKeyPair::generate_pkcs8(curve, &random).map_err(|_| anyhow!("no key was made"))?;
        let pair = EcdsaKeyPair::from_pkcs8(curve, document.as_ref(), &random);
        let pair = pair.map_err(|error| anyhow!("the key that was made is refused: {error}"))?;
        Ok(Self { pair, random })
    }

    /// The set with its public key.
    fn keys(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256",
            "x": BASE64URL.encode(x), "y": BASE64URL.encode(y),
        }]})
    }

    fn token(&self, claims: &Value) -> anyhow::Result<String> {
        let message = message(&json!({"alg": "ES256", "kid": "one"}), claims);
        let signature = self.pair.sign(&self.random, message.as_bytes());
        let signature = signature.map_err(|_| anyhow!("no signature was made"))?;
        Ok(format!("{message}.{}", BASE64URL.encode(signature)))
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64URL.encode(part.to_string()));
    format!("{header}.{claims}")
}

/// Writes one token that is good, and those that others have found holes with.
fn write(issuer: &Issuer, folder: &Path) -> anyhow::Result<()> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let with = |claim: &str, value: Value| {
        let mut claims = json!({
            "sub": "alice", "iss": "https://idp.example", "aud": "keyway", "iat": now_s, "exp": now_s + 300,
        });
        claims[claim] = value;
        claims
    };
    let good = with("iat", json!(now_s));
    let unsigned = message(&json!({"alg": "none"}), &good);
    let by_public_key = message(&json!({"alg": "HS256", "kid": "one"}), &good);
    let secret = hmac::Key::new(hmac::HMAC_SHA256, issuer.pair.public_key().as_ref());
    let by_public_key =
        format!("{by_public_key}.{}", BASE64URL.encode(hmac::sign(&secret, by_public_key.as_bytes())));
    for (name, token) in [
        ("good", issuer.token(&good)?),
        ("expired", issuer.token(&with("exp", json!(now_s - 300)))?),
        ("for-another", issuer.token(&with("aud", json!("payroll")))?),
        ("by-another", issuer.token(&with("iss", json!("https://evil.example")))?),
        ("wrong-signature", Issuer::new()?.token(&good)?),
        // The clients refuse one with no signature at all by themselves.
        ("alg-none", format!("{unsigned}.AAAA")),
        ("public-key-as-secret", by_public_key),
    ] {
        fs::write(folder.join(name), token)?;
    }
    Ok(())
}

/// librdkafka and Apache Kafka's own client: one token is taken, again and again, and the others are not.
pub(crate) async fn clients(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let issuer = Issuer::new()?;
    let folder = stage.folder().join("tokens");
    fs::create_dir(&folder)?;
    write(&issuer, &folder)?;
    let keys = stage.folder().join("jwks.json");
    fs::write(&keys, issuer.keys().to_string())?;
    let settings = format!(
        "listener.name.sasl_ssl.sasl.enabled.mechanisms=OAUTHBEARER\n\
         listener.name.sasl_ssl.connections.max.reauth.ms=2000\n\
         sasl.oauthbearer.jwks.endpoint.url=file://{}\n\
         sasl.oauthbearer.expected.issuer=https://idp.example\n\
         sasl.oauthbearer.expected.audience=keyway\n",
        keys.display()
    );
    let mut secured = Secured::start(stage, &settings).await?;
    let mut python = stage.python("kafka/token_clients.py", &[])?;
    python.env("KAFKA", secured.broker.kafka().to_string()).env("SASL_SSL", secured.sasl_ssl.to_string());
    python.env("CA", &secured.files.authority).env("TOKENS", &folder);
    let python = stage.run(&mut python).await?.summary();
    let mut java = stage.tools.apache_kafka()?.source(&workspace::programs().join("kafka/TokenClients.java"));
    java.arg(secured.sasl_ssl.to_string()).arg(&secured.files.authority).arg(&folder);
    let java = stage.run(&mut java).await?.summary();
    secured.broker.check_alive()?;
    Ok(format!("{python}; {java}"))
}
