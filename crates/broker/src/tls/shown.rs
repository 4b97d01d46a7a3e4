//! The certificates that listeners would show, for those who ask before a broker runs.

use super::{TlsError, TlsSettings, pem};
use crate::settings::Layers;
use keyway_access::SecurityProtocol;
use std::collections::BTreeMap;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

/// The certificate of one listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownCertificate {
    /// Names and addresses of hosts that it is for; a name may begin with `*.`.
    pub hosts: Vec<String>,
    /// It holds from this second since 1970 on.
    pub not_before_s: i64,
    /// It holds until this second since 1970.
    pub not_after_s: i64,
}

/// What clients of the listener of this name would see with these settings; `None` without TLS.
pub fn shown_certificate(
    listener: &str,
    protocol: SecurityProtocol,
    settings: &BTreeMap<String, String>,
) -> Result<Option<ShownCertificate>, TlsError> {
    if !protocol.has_tls() {
        return Ok(None);
    }
    let layers = Layers { start: settings.clone(), ..Layers::default() };
    let settings = TlsSettings::read_from(|name| layers.of_listener(listener, name))?;
    let material = settings.read()?;
    settings.server_config(&material)?;
    let chain = pem::certificates(&material.chain)?;
    let (_, own) = X509Certificate::from_der(&chain[0]).map_err(|error| TlsError::Pair {
        key: material.key.0.place(),
        chain: material.chain.0.place(),
        reason: error.to_string(),
    })?;
    let validity = own.validity();
    Ok(Some(ShownCertificate {
        hosts: hosts(&own),
        not_before_s: validity.not_before.timestamp(),
        not_after_s: validity.not_after.timestamp(),
    }))
}

fn hosts(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    };
    names.iter().filter_map(host).collect()
}
