//! What a token says: who its bearer is, until when, and for whom it was issued (RFC 7519).

use super::{TokenError, Verified, shortened};
use crate::users::NAME_BYTES_MAX;
use keyway_access::Principal;
use serde_json::{Map, Value};

/// What tokens have to say.
#[derive(Debug)]
pub(super) struct Expected {
    /// The issuer, if it matters.
    pub(super) issuer: Option<String>,
    /// Any of these. A token that names others, or names some where none is expected, is for somebody else.
    pub(super) audience: Vec<String>,
    /// How far the issuer's clock may be from this one, milliseconds.
    pub(super) skew_ms: u64,
    /// The claim with the user's name.
    pub(super) name_claim: String,
    /// The claim with what the token is good for: text or texts, if it is there.
    pub(super) scope_claim: String,
}

impl Expected {
    /// Whom the payload of a signed token stands for at `now_unix_ms`.
    pub(super) fn check(&self, payload: &[u8], now_unix_ms: u64) -> Result<Verified, TokenError> {
        let claims: Map<String, Value> = serde_json::from_slice(payload)
            .map_err(|_| TokenError::Form { reason: "its payload is no JSON object" })?;
        let ends_ms = time(&claims, "exp")?.ok_or(TokenError::Missing { claim: "exp".to_owned() })?;
        let taken_until_ms = ends_ms.saturating_add(self.skew_ms);
        if now_unix_ms >= taken_until_ms {
            return Err(TokenError::Expired { ago_ms: now_unix_ms - ends_ms });
        }
        if let Some(begins_ms) = time(&claims, "nbf")?
            && now_unix_ms.saturating_add(self.skew_ms) < begins_ms
        {
            return Err(TokenError::NotYet { in_ms: begins_ms - now_unix_ms });
        }
        time(&claims, "iat")?;
        self.check_issuer(&claims)?;
        self.check_audience(&claims)?;
        self.check_scope(&claims)?;
        // A token that is taken for the sake of the clocks' difference is good for as long as that lasts.
        let expires_ms = if ends_ms > now_unix_ms { ends_ms } else { taken_until_ms };
        Ok(Verified { principal: self.principal(&claims)?, expires_ms })
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let found = text(claims, "iss")?;
        match &self.issuer {
            Some(expected) if found != Some(expected) => {
                Err(TokenError::Issuer { found: found.map_or_else(|| "nobody".to_owned(), shortened) })
            }
            _ => Ok(()),
        }
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let found = texts(claims, "aud")?;
        let wanted = self.audience.iter().any(|one| found.contains(&one.as_str()));
        if wanted || (found.is_empty() && self.audience.is_empty()) {
            return Ok(());
        }
        Err(TokenError::Audience { found: shortened(&found.join(", ")) })
    }

    /// As in Kafka: scopes decide nothing, but have to be texts, and each once.
    fn check_scope(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let mut scopes = texts(claims, &self.scope_claim)?;
        scopes.sort_unstable();
        let twice = scopes.windows(2).any(|pair| pair[0] == pair[1]);
        if twice || scopes.iter().any(|scope| scope.trim().is_empty()) {
            return Err(TokenError::Type { claim: self.scope_claim.clone(), expected: "texts, each once" });
        }
        Ok(())
    }

    fn principal(&self, claims: &Map<String, Value>) -> Result<Principal, TokenError> {
        let claim = &self.name_claim;
        let name = text(claims, claim)?.ok_or_else(|| TokenError::Missing { claim: claim.clone() })?.trim();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let expected = "a name of 1 to 255 bytes";
            return Err(TokenError::Type { claim: claim.clone(), expected });
        }
        Ok(Principal::user(name))
    }
}

/// A time since 1970, milliseconds; claims have seconds, whole or not.
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<u64>, TokenError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let whole = value.as_u64().map(|seconds| seconds.saturating_mul(1_000));
    let ms = whole.or_else(|| {
        let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0)?;
        Some((seconds * 1_000.0) as u64)
    });
    let expected = "seconds since 1970";
    ms.map(Some).ok_or_else(|| TokenError::Type { claim: claim.to_owned(), expected })
}

fn text<'a>(claims: &'a Map<String, Value>, claim: &str) -> Result<Option<&'a str>, TokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Type { claim: claim.to_owned(), expected: "text" }),
    }
}

/// One text or several.
fn texts<'a>(claims: &'a Map<String, Value>, claim: &str) -> Result<Vec<&'a str>, TokenError> {
    let wrong = || TokenError::Type { claim: claim.to_owned(), expected: "text or texts" };
    match claims.get(claim) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(all)) => all.iter().map(|one| one.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}
