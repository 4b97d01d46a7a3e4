mod refreshed;

use super::{TokenError, TokenSettings, TokenSettingsError, Tokens, Verified};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use keyway_access::Principal;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

const NOW: u64 = 1_700_000_000_000;
const NOW_S: u64 = NOW / 1_000;
const SECRET: &[u8] = b"thirty-two bytes of a secret, ok";

/// The examples of RFC 7515, appendices A.1 and A.2: the same claims, signed by HS256 and by RS256.
const RFC_PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RFC_SECRET: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
const RFC_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RFC_HS256: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const RFC_RS256: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
/// When the example's `exp` is.
const RFC_ENDS_MS: u64 = 1_300_819_380_000;

/// A key set with the secret of [`shared`].
pub(crate) fn shared_key() -> Value {
    json!({"kty": "oct", "alg": "HS256", "k": BASE64URL.encode(SECRET)})
}

/// A token with these claims, signed by the secret.
pub(crate) fn shared(claims: &Value) -> String {
    hmac_signed(&json!({"alg": "HS256"}), claims, SECRET)
}

fn hmac_signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    signed(header, claims, |message| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
    })
}

fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64URL.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = BASE64URL.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn write(folder: &Path, keys: &[Value], mode: u32) -> String {
    let path = folder.join("jwks.json");
    fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    format!("file://{}", path.display())
}

fn settings(url: &str, more: &[(&str, &str)]) -> Result<TokenSettings, TokenSettingsError> {
    TokenSettings::read_from(|name| match name {
        "sasl.oauthbearer.jwks.endpoint.url" => Some(url.to_owned()),
        name => more.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()),
    })
}

fn tokens_with(keys: &[Value], more: &[(&str, &str)]) -> Tokens {
    let folder = tempfile::tempdir().unwrap();
    let url = write(folder.path(), keys, 0o600);
    Tokens::new(settings(&url, more).unwrap()).unwrap()
}

fn refused(keys: &[Value]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let url = write(folder.path(), keys, 0o600);
    Tokens::new(settings(&url, &[]).unwrap()).err().unwrap().to_string()
}

#[test]
fn the_examples_of_the_rfc_are_taken_until_they_expire() {
    let name = [("sasl.oauthbearer.sub.claim.name", "iss"), ("sasl.oauthbearer.clock.skew.seconds", "0")];
    let secret = json!({"kty": "oct", "k": RFC_SECRET});
    let public = json!({"kty": "RSA", "n": RFC_MODULUS, "e": "AQAB"});
    let shared = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{RFC_PAYLOAD}.{RFC_HS256}");
    let by_rsa = format!("eyJhbGciOiJSUzI1NiJ9.{RFC_PAYLOAD}.{RFC_RS256}");
    for (key, token) in [(secret, shared), (public, by_rsa)] {
        let tokens = tokens_with(&[key], &name);
        let expected = Verified { principal: Principal::user("joe"), expires_ms: RFC_ENDS_MS };
        assert_eq!(tokens.verify(&token, RFC_ENDS_MS - 1), Ok(expected));
        assert_eq!(tokens.verify(&token, RFC_ENDS_MS), Err(TokenError::Expired { ago_ms: 0 }));
        // Any other byte of the payload is another payload.
        let other = token.replace("JleHAi", "JleHAj");
        assert_eq!(tokens.verify(&other, RFC_ENDS_MS - 1), Err(TokenError::Signature));
    }
}

#[test]
fn a_token_cannot_choose_how_it_is_checked() {
    let claims = json!({"sub": "alice", "exp": NOW_S + 60});
    let public = json!({"kty": "RSA", "n": RFC_MODULUS, "e": "AQAB", "kid": "a"});
    let tokens = tokens_with(&[public], &[]);
    // The public key as a secret: in the form of its numbers, and as an issuer would publish it.
    let modulus = BASE64URL.decode(RFC_MODULUS).unwrap();
    for secret in [modulus.as_slice(), RFC_MODULUS.as_bytes()] {
        let token = hmac_signed(&json!({"alg": "HS256", "kid": "a"}), &claims, secret);
        assert!(matches!(tokens.verify(&token, NOW), Err(TokenError::NoKey { .. })));
    }
    for algorithm in ["none", "None", "NONE", "", "HS1", "EdDSA"] {
        let token = signed(&json!({"alg": algorithm, "kid": "a"}), &claims, |_| Vec::new());
        assert!(matches!(tokens.verify(&token, NOW), Err(TokenError::Algorithm { .. })), "{algorithm}");
    }
    // A key that comes with the token.
    let own =
        hmac_signed(&json!({"alg": "HS256", "jwk": shared_key(), "jku": "https://evil"}), &claims, SECRET);
    assert!(matches!(tokens.verify(&own, NOW), Err(TokenError::NoKey { .. })));
    let unsigned = signed(&json!({"alg": "RS256", "kid": "a"}), &claims, |_| Vec::new());
    assert_eq!(tokens.verify(&unsigned, NOW), Err(TokenError::Signature));
}

#[test]
fn keys_are_found_by_their_ids_and_kinds() {
    let random = SystemRandom::new();
    let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(curve, document.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let (x, y) = (BASE64URL.encode(x), BASE64URL.encode(y));
    let ec = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "new", "use": "sig"});
    let other = json!({"kty": "oct", "k": BASE64URL.encode([7; 32]), "kid": "old"});
    let tokens = tokens_with(&[other, ec, shared_key()], &[]);
    let claims = json!({"sub": "alice", "exp": NOW_S + 60});
    let by_ec = |header: Value| {
        signed(&header, &claims, |message| pair.sign(&random, message).unwrap().as_ref().to_vec())
    };
    for token in [
        by_ec(json!({"alg": "ES256", "kid": "new"})),
        by_ec(json!({"alg": "ES256"})),
        hmac_signed(&json!({"alg": "HS256", "kid": "old"}), &claims, &[7; 32]),
        // The one without an id is tried, too.
        hmac_signed(&json!({"alg": "HS256", "kid": "any"}), &claims, SECRET),
        shared(&claims),
    ] {
        assert_eq!(tokens.verify(&token, NOW).unwrap().principal, Principal::user("alice"));
    }
    let nobodys = by_ec(json!({"alg": "ES256", "kid": "gone"}));
    let no_key = TokenError::NoKey { algorithm: "ES256".to_owned(), id: "gone".to_owned() };
    assert_eq!(tokens.verify(&nobodys, NOW), Err(no_key));
    let wrong_id = hmac_signed(&json!({"alg": "HS512", "kid": "old"}), &claims, &[7; 32]);
    assert!(
        matches!(tokens.verify(&wrong_id, NOW), Err(TokenError::NoKey { .. })),
        "its secret is short for it"
    );
}

#[test]
fn claims_decide() {
    let more = [
        ("sasl.oauthbearer.expected.issuer", "idp"),
        ("sasl.oauthbearer.expected.audience", "kafka, keyway"),
    ];
    let tokens = tokens_with(&[shared_key()], &more);
    let good = json!({"sub": "alice", "exp": NOW_S + 60, "iss": "idp", "aud": ["web", "keyway"]});
    let with = |claim: &str, value: Value| {
        let mut claims = good.clone();
        claims[claim] = value;
        tokens.verify(&shared(&claims), NOW)
    };
    let alice = |expires_ms| Ok(Verified { principal: Principal::user("alice"), expires_ms });
    assert_eq!(tokens.verify(&shared(&good), NOW), alice(NOW + 60_000));
    for (claim, value, expires_ms) in [
        ("aud", json!("kafka"), NOW + 60_000),
        ("exp", json!(NOW_S as f64 + 0.5), NOW + 500),
        // Within the 30 s that clocks may differ by default.
        ("exp", json!(NOW_S - 29), NOW + 1_000),
        ("nbf", json!(NOW_S + 30), NOW + 60_000),
        ("iat", json!(NOW_S), NOW + 60_000),
        ("scope", json!(["read", "write"]), NOW + 60_000),
        ("sub", json!(" alice "), NOW + 60_000),
    ] {
        assert_eq!(with(claim, value.clone()), alice(expires_ms), "{claim} {value}");
    }
    assert_eq!(with("exp", json!(NOW_S - 30)), Err(TokenError::Expired { ago_ms: 30_000 }));
    assert_eq!(with("nbf", json!(NOW_S + 31)), Err(TokenError::NotYet { in_ms: 31_000 }));
    assert_eq!(with("iss", json!("IDP")), Err(TokenError::Issuer { found: "IDP".to_owned() }));
    for aud in [json!("Keyway"), json!([]), json!(["web"])] {
        assert!(matches!(with("aud", aud), Err(TokenError::Audience { .. })));
    }
    for (claim, value) in [
        ("exp", json!("1700000060")),
        ("exp", json!(-1)),
        ("exp", Value::Null),
        ("nbf", json!([])),
        ("iat", json!("now")),
        ("iss", json!(["idp"])),
        ("aud", json!([1])),
        ("aud", json!({"keyway": true})),
        ("scope", json!(["read", "read"])),
        ("scope", json!(7)),
        ("sub", json!("")),
        ("sub", json!("  ")),
        ("sub", json!("a".repeat(256))),
        ("sub", json!(7)),
    ] {
        let error = with(claim, value.clone()).unwrap_err();
        assert!(
            matches!(&error, TokenError::Type { claim: named, .. } if named == claim),
            "{claim} {value}: {error}"
        );
    }
    for missing in ["exp", "sub"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(missing);
        let claim = missing.to_owned();
        assert_eq!(tokens.verify(&shared(&claims), NOW), Err(TokenError::Missing { claim }));
    }
    let nobodys = json!({"sub": "alice", "exp": NOW_S + 60, "aud": "kafka"});
    assert!(matches!(tokens.verify(&shared(&nobodys), NOW), Err(TokenError::Issuer { .. })));
}

#[test]
fn a_token_for_somebody_is_not_for_anybody() {
    let tokens = tokens_with(&[shared_key()], &[]);
    let claims = json!({"sub": "alice", "exp": NOW_S + 60, "aud": "payroll"});
    assert_eq!(
        tokens.verify(&shared(&claims), NOW),
        Err(TokenError::Audience { found: "payroll".to_owned() })
    );
    assert_eq!(
        tokens.verify(&shared(&json!({"sub": "a", "exp": u64::MAX})), NOW).unwrap().expires_ms,
        u64::MAX
    );
}

#[test]
fn what_is_no_token_is_none() {
    let tokens = tokens_with(&[shared_key()], &[]);
    let good = shared(&json!({"sub": "alice", "exp": NOW_S + 60}));
    assert!(tokens.verify(&good, NOW).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        parts[..2].join("."),
        format!("{good}."),
        format!("{good}="),
        format!(" {good}"),
        good.replace('.', ".."),
        format!("e30.{}.{}", parts[1], parts[2]),
        format!("{}.{}.{}.{}.{}", parts[0], parts[1], parts[2], parts[1], parts[2]),
        hmac_signed(&json!({"alg": "HS256"}), &json!(["alice"]), SECRET),
        hmac_signed(&json!({"alg": ["HS256"]}), &json!({}), SECRET),
    ] {
        assert!(matches!(tokens.verify(&text, NOW), Err(TokenError::Form { .. })), "{text}");
    }
    let critical = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    assert_eq!(tokens.verify(&hmac_signed(&critical, &json!({}), SECRET), NOW), Err(TokenError::Critical));
    assert!(matches!(tokens.verify(&"a".repeat(16 * 1024 + 1), NOW), Err(TokenError::Long { .. })));
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let deep = format!("{}.{}.x", BASE64URL.encode(deep), parts[1]);
    assert!(matches!(tokens.verify(&deep, NOW), Err(TokenError::Form { .. })));
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_the_reason() {
    for (keys, words) in [
        (vec![], "no key that tokens can be checked by"),
        (vec![json!({"kty": "oct", "k": BASE64URL.encode("your-secret-key")})], "openssl rand 32"),
        (vec![json!({"kty": "RSA", "n": BASE64URL.encode([255; 128]), "e": "AQAB"})], "1024 bits"),
        (vec![json!({"kty": "RSA", "n": RFC_MODULUS})], "e is missing"),
        (vec![json!({"kty": "RSA", "n": RFC_MODULUS, "e": "AQAB", "alg": "HS256"})], "alg \"HS256\""),
        (vec![json!({"kty": "RSA", "n": RFC_MODULUS, "e": "AQAB", "use": "enc"})], "not for signatures"),
        (vec![json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"})], "P-256"),
        (vec![json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})], "as long as"),
        (vec![json!({"kty": "OKP"})], "kty \"OKP\""),
        (vec![json!(7)], "members"),
        (vec![shared_key(); 65], "65 keys"),
    ] {
        let error = refused(&keys);
        assert!(error.contains(words) && error.contains("jwks.json"), "{error}");
    }
    let some = tokens_with(&[json!({"kty": "OKP"}), shared_key()], &[]);
    assert_eq!(some.keys.read().unwrap().keys.len(), 1, "keys that are not understood stand in nobody's way");
}

#[test]
fn files_with_secrets_are_nobody_elses_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let url = write(folder.path(), &[shared_key()], 0o644);
    let error = Tokens::new(settings(&url, &[]).unwrap()).err().unwrap().to_string();
    assert!(error.contains("chmod 600") && !error.contains("thirty-two"), "{error}");
    let url = write(folder.path(), &[json!({"kty": "RSA", "n": RFC_MODULUS, "e": "AQAB"})], 0o644);
    assert!(Tokens::new(settings(&url, &[]).unwrap()).is_ok(), "a public key is no secret");
    fs::write(folder.path().join("jwks.json"), "{\"keys\": \"hunter2\"}").unwrap();
    let error = Tokens::new(settings(&url, &[]).unwrap()).err().unwrap().to_string();
    assert!(error.contains("no JWKS") && !error.contains("hunter2"), "{error}");
    fs::write(folder.path().join("jwks.json"), " ".repeat(256 * 1024 + 1)).unwrap();
    assert!(Tokens::new(settings(&url, &[]).unwrap()).err().unwrap().to_string().contains("limit"));
    fs::remove_file(folder.path().join("jwks.json")).unwrap();
    assert!(Tokens::new(settings(&url, &[]).unwrap()).err().unwrap().to_string().contains("cannot read"));
}

#[test]
fn settings_are_checked() {
    for (url, more, words) in [
        ("", &[][..], "is not set"),
        ("ftp://idp/keys", &[], "file:///PATH or https"),
        ("http://idp/keys", &[], "file:///PATH or https"),
        ("file://host/keys", &[], "file:///PATH or https"),
        ("file:///keys", &[("sasl.oauthbearer.clock.skew.seconds", "-1")], "clock.skew.seconds is -1"),
        ("file:///keys", &[("sasl.oauthbearer.jwks.endpoint.refresh.ms", "0")], "refresh.ms is 0"),
        ("https:///keys", &[], "no address of HTTPS"),
        ("https://user@idp/keys", &[], "has a user"),
        ("https://idp/keys", &[("oauthbearer.sasl.jaas.config", "M sometimes a=b;")], "jaas.config"),
        (
            "https://idp/keys",
            &[("oauthbearer.sasl.jaas.config", "M required ssl.truststore.location=\"/no\";")],
            "is JKS",
        ),
        ("file:///keys", &[(super::ALLOWED_URLS, "https://idp/keys")], "does not have"),
    ] {
        let error = settings(url, more).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
    let allowed = [(super::ALLOWED_URLS, "https://idp/keys, file:///keys")];
    assert!(settings("file:///keys", &allowed).is_ok());
    let own = [
        ("oauthbearer.sasl.oauthbearer.expected.issuer", "own"),
        ("sasl.oauthbearer.expected.issuer", "all"),
    ];
    assert_eq!(settings("file:///keys", &own).unwrap().expected.issuer.as_deref(), Some("own"));
}
