//! Why a request was refused, as every answer with a status of 400 or more says it:
//!
//! ```json
//! {"error": {"code": "topic_unknown", "message": "topic 'orders' does not exist", "next_step": "…"}}
//! ```
//!
//! `code` is stable; `message` and `next_step` are for people.

use axum::{
    Json,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("nothing is at {path}")]
    NoSuchPath { path: String },
    #[error("{path} does not take {method}")]
    NoSuchMethod { method: Method, path: String },
    #[error("the request names the host '{host}', and this broker serves its own machine only")]
    ForeignHost { host: String },
    #[error("the request took longer than {seconds} s")]
    TooSlow { seconds: u64 },
    #[error("the broker stops")]
    Stopping,
}

#[derive(Serialize)]
struct Body {
    error: Explanation,
}

#[derive(Serialize)]
struct Explanation {
    code: &'static str,
    message: String,
    next_step: String,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath { .. } => StatusCode::NOT_FOUND,
            Self::NoSuchMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::ForeignHost { .. } => StatusCode::FORBIDDEN,
            Self::TooSlow { .. } | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchPath { .. } => "path_unknown",
            Self::NoSuchMethod { .. } => "method_not_allowed",
            Self::ForeignHost { .. } => "host_foreign",
            Self::TooSlow { .. } => "timeout",
            Self::Stopping => "stopping",
        }
    }

    fn next_step(&self) -> String {
        match self {
            Self::NoSuchPath { .. } => {
                "the paths are /healthz, /readyz, /metrics and those under /api/v1".into()
            }
            Self::NoSuchMethod { .. } => "the header 'allow' lists what it takes".into(),
            Self::ForeignHost { .. } => {
                "use the address that the broker listens on, such as 127.0.0.1:8080".into()
            }
            Self::TooSlow { .. } => "try again, or ask for less".into(),
            Self::Stopping => "try again when it runs again".into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = Explanation { code: self.code(), message: self.to_string(), next_step: self.next_step() };
        (self.status(), Json(Body { error })).into_response()
    }
}
