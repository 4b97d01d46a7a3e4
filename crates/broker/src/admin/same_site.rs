//! Requests to a loopback address must name it. A page that a browser on this machine shows may give its own host name
//! this address and then read and change everything; what it cannot change is the `Host` that the browser sends.

use super::error::ApiError;
use axum::{
    extract::Request,
    http::{HeaderMap, Uri, header::HOST, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::net::IpAddr;

/// Refuses a request that reached this machine under a foreign name.
pub(super) async fn check(request: Request, next: Next) -> Response {
    match authority(request.uri(), request.headers()) {
        Some(host) if is_this_machine(&host) => next.run(request).await,
        other => ApiError::ForeignHost { host: other.unwrap_or_default() }.into_response(),
    }
}

fn authority(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let named = uri.authority().cloned();
    let authority: Authority = match named {
        Some(authority) => authority,
        None => headers.get(HOST)?.to_str().ok()?.parse().ok()?,
    };
    Some(authority.host().to_owned())
}

fn is_this_machine(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_pass() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.8.9.1", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["example.org", "localhost.example.org", "10.0.0.1", "", "127.0.0.1.example.org"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn the_name_is_the_one_the_client_wrote() {
        let mut headers = HeaderMap::new();
        assert_eq!(authority(&Uri::from_static("/x"), &headers), None);
        headers.insert(HOST, "localhost:8080".parse().unwrap());
        assert_eq!(authority(&Uri::from_static("/x"), &headers).as_deref(), Some("localhost"));
        let full = Uri::from_static("http://example.org/x");
        assert_eq!(authority(&full, &headers).as_deref(), Some("example.org"));
    }
}
