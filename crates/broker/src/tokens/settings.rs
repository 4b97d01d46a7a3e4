//! Kafka's `sasl.oauthbearer.…` settings of one listener.

use super::{
    claims::Expected,
    fetch::{Fetcher, FetcherError},
    source::{Source, SourceError},
};
use keyway_access::{Jaas, JaasError};
use std::path::PathBuf;

const URL: &str = "sasl.oauthbearer.jwks.endpoint.url";

/// Kafka has it as a property of the Java machine, where it is needed; here it narrows what the settings may say.
pub(crate) const ALLOWED_URLS: &str = "org.apache.kafka.sasl.oauthbearer.allowed.urls";

/// The settings, before any key is read.
pub(crate) struct TokenSettings {
    pub(super) expected: Expected,
    pub(super) source: Source,
    /// How often keys from a URL are fetched, milliseconds.
    pub(super) refresh_ms: u64,
    /// How long a failed fetch waits for the next, from the first failure to the last, milliseconds.
    pub(super) retry_ms: std::ops::RangeInclusive<u64>,
}

/// Why tokens cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum TokenSettingsError {
    /// There is nothing to check them by.
    #[error(
        "{URL} is not set; OAUTHBEARER needs the keys of whoever issues the tokens: file:///PATH or https://…"
    )]
    Unset,
    /// The URL is none that keys are read from.
    #[error("{URL} is {url:?}; keys are read from file:///PATH or https://HOST/…")]
    Url {
        /// What it is.
        url: String,
    },
    /// The URL is not among those that are allowed.
    #[error("{URL} is {url:?}, which {ALLOWED_URLS} does not have")]
    NotAllowed {
        /// What it is.
        url: String,
    },
    /// A number is none, or out of its range.
    #[error("{name} is {value}; expected {expected}")]
    Number {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The keys cannot be read.
    #[error("{URL}: {0}")]
    Source(#[from] SourceError),
    /// Keys cannot be fetched.
    #[error("{URL}: {0}")]
    Fetcher(#[from] FetcherError),
    /// The line with the trust in the issuer's server cannot be read.
    #[error("oauthbearer.sasl.jaas.config: {0}")]
    Jaas(#[from] JaasError),
    /// What vouches for the issuer's server is of a kind that only Java reads.
    #[error("ssl.truststore.type of oauthbearer.sasl.jaas.config is {0}; convert the store and set PEM")]
    Store(String),
}

impl TokenSettings {
    /// Reads the settings of one listener; `value` knows what each is set to, its default included. As in Kafka a setting
    /// may be for OAUTHBEARER alone: `listener.name.X.oauthbearer.sasl.oauthbearer.…`.
    pub(crate) fn read_from(value: impl Fn(&str) -> Option<String>) -> Result<Self, TokenSettingsError> {
        let jaas = value("oauthbearer.sasl.jaas.config").map(|line| Jaas::parse(&line)).transpose()?;
        let value = |name: &str| {
            let found = value(&format!("oauthbearer.{name}")).or_else(|| value(name));
            found.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let list = |name: &str| -> Vec<String> {
            let text = value(name).unwrap_or_default();
            text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
        };
        let number = |name: &'static str, default: u64, expected: &'static str, least: u64| {
            let Some(value) = value(name) else { return Ok(default) };
            let number = value.parse().ok().filter(|&number: &u64| number >= least);
            number.ok_or(TokenSettingsError::Number { name, value, expected })
        };
        let url = value(URL).ok_or(TokenSettingsError::Unset)?;
        let allowed = list(ALLOWED_URLS);
        if !allowed.is_empty() && !allowed.contains(&url) {
            return Err(TokenSettingsError::NotAllowed { url });
        }
        let skew_s = number("sasl.oauthbearer.clock.skew.seconds", 30, "0 or more", 0)?;
        let retry_ms = number("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", 100, "1 or more", 1)?;
        let retry_ms_max =
            number("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", 10_000, "1 or more", 1)?;
        Ok(Self {
            expected: Expected {
                issuer: value("sasl.oauthbearer.expected.issuer"),
                audience: list("sasl.oauthbearer.expected.audience"),
                skew_ms: skew_s.saturating_mul(1_000),
                name_claim: value("sasl.oauthbearer.sub.claim.name").unwrap_or_else(|| "sub".to_owned()),
                scope_claim: value("sasl.oauthbearer.scope.claim.name").unwrap_or_else(|| "scope".to_owned()),
            },
            source: source(url, trusted(jaas.as_ref())?)?,
            refresh_ms: number(
                "sasl.oauthbearer.jwks.endpoint.refresh.ms",
                3_600_000,
                "1000 or more",
                1_000,
            )?,
            retry_ms: retry_ms..=retry_ms_max.max(retry_ms),
        })
    }
}

/// The PEM file of those who vouch for the issuer's server, where Kafka has it: in the options of the login module.
fn trusted(jaas: Option<&Jaas>) -> Result<Option<PathBuf>, TokenSettingsError> {
    let option = |name: &str| jaas.and_then(|jaas| jaas.options.get(name));
    let Some(path) = option("ssl.truststore.location") else { return Ok(None) };
    let kind = option("ssl.truststore.type").map_or("JKS", String::as_str);
    if kind.eq_ignore_ascii_case("PEM") {
        return Ok(Some(PathBuf::from(path)));
    }
    Err(TokenSettingsError::Store(kind.to_owned()))
}

fn source(url: String, trusted: Option<PathBuf>) -> Result<Source, TokenSettingsError> {
    if url.starts_with("https://") {
        return Ok(Source::Url(Fetcher::new(&url, trusted.as_deref())?));
    }
    // Java takes file:/PATH for the same.
    let path = url.strip_prefix("file://").or_else(|| url.strip_prefix("file:"));
    match path {
        Some(path) if path.starts_with('/') => Ok(Source::File(PathBuf::from(path))),
        _ => Err(TokenSettingsError::Url { url }),
    }
}
