//! Why a request was refused, as every answer with a status of 400 or more says it:
//!
//! ```json
//! {"error": {"code": "topic_unknown", "message": "topic 'orders' does not exist", "next_step": "…"}}
//! ```
//!
//! `code` is stable; `message` and `next_step` are for people.

use super::dead_letters::DeadLetterError;
use crate::{fronts::Refused, subscription::SubscriptionError};
use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, header::WWW_AUTHENTICATE},
    response::{IntoResponse, Response},
};
use keyway_access::Operation;
use serde::Serialize;

/// What browsers and HTTP clients are told to log in with.
const CHALLENGE: &str = "Basic realm=\"keyway\", charset=\"UTF-8\", Bearer realm=\"keyway\"";

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("nothing is at {path}")]
    NoSuchPath { path: String },
    #[error("{path} does not take {method}")]
    NoSuchMethod { method: Method, path: String },
    #[error("the request names the host '{host}', and this broker serves its own machine only")]
    ForeignHost { host: String },
    #[error("{principal} may not {operation:?} {resource}")]
    Denied { principal: String, operation: Operation, resource: String },
    #[error(transparent)]
    Login(#[from] Refused),
    #[error("the request took longer than {seconds} s")]
    TooSlow { seconds: u64 },
    #[error("the broker stops")]
    Stopping,
    /// The framework could not read path, query or body.
    #[error("{reason}")]
    Unreadable { status: StatusCode, reason: String },
    #[error("{name} is {given}; {allowed} are allowed")]
    OutOfRange { name: &'static str, given: usize, allowed: &'static str },
    #[error("'{given}' is no {what}")]
    NotA { what: &'static str, given: String, allowed: &'static str },
    #[error("the name of the subscription has {bytes} bytes; 1 to {max} are allowed")]
    SubscriptionName { bytes: usize, max: usize },
    #[error("topic '{topic}' does not exist")]
    UnknownTopic { topic: String },
    #[error("key '{key}' has no messages that wait or are in flight")]
    IdleKey { key: String },
    #[error(transparent)]
    Subscription(#[from] SubscriptionError),
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
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
    /// Status, code, and what to do about it.
    fn sorted(&self) -> (StatusCode, &'static str, String) {
        let (status, code, next_step) = match self {
            Self::NoSuchPath { .. } => {
                let paths = "the paths are /healthz, /readyz, /metrics and those under /api/v1";
                (StatusCode::NOT_FOUND, "path_unknown", paths)
            }
            Self::NoSuchMethod { .. } => {
                let step = "the header 'allow' lists what it takes";
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", step)
            }
            Self::ForeignHost { .. } => {
                let step = "use the address that the broker listens on, such as 127.0.0.1:8080";
                (StatusCode::FORBIDDEN, "host_foreign", step)
            }
            Self::Denied { .. } => {
                let step = "an access rule allows it, such as kafka-acls --add makes";
                (StatusCode::FORBIDDEN, "denied", step)
            }
            Self::Login(_) => {
                let step = "send a user's name and password, or a token, such as curl --user NAME";
                (StatusCode::UNAUTHORIZED, "login", step)
            }
            Self::TooSlow { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "timeout", "try again, or ask for less")
            }
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", "try again when it runs again"),
            Self::Unreadable { status, .. } => (*status, "request_unreadable", "correct the request"),
            Self::OutOfRange { .. } => {
                (StatusCode::BAD_REQUEST, "out_of_range", "choose a value in the range")
            }
            Self::NotA { allowed, .. } => {
                return (StatusCode::BAD_REQUEST, "value_unknown", format!("choose one of {allowed}"));
            }
            Self::SubscriptionName { .. } => {
                (StatusCode::BAD_REQUEST, "subscription_name", "choose another name")
            }
            Self::UnknownTopic { .. } => {
                (StatusCode::NOT_FOUND, "topic_unknown", "`keyway topic list` shows what exists")
            }
            Self::IdleKey { .. } => {
                (StatusCode::NOT_FOUND, "key_idle", "its next message goes to a worker as soon as it comes")
            }
            Self::Subscription(error) => of_subscription(error),
            Self::DeadLetter(error) => of_dead_letter(error),
        };
        (status, code, next_step.to_owned())
    }
}

fn of_subscription(error: &SubscriptionError) -> (StatusCode, &'static str, &'static str) {
    match error {
        SubscriptionError::Unknown { .. } => {
            let step = "`keyway subscription list` shows what exists, `keyway subscription create` adds one";
            (StatusCode::NOT_FOUND, "subscription_unknown", step)
        }
        SubscriptionError::Exists { .. } => {
            (StatusCode::CONFLICT, "subscription_exists", "choose another name, or delete it first")
        }
        SubscriptionError::NotReliable(_) => {
            (StatusCode::CONFLICT, "topic_not_reliable", "use a reliable topic for what must be kept")
        }
        SubscriptionError::TooMany { .. } => {
            (StatusCode::CONFLICT, "too_many_subscriptions", "delete those that nobody uses")
        }
        SubscriptionError::Policy(_) => (StatusCode::BAD_REQUEST, "policy", "correct the value"),
        SubscriptionError::DeadLetterTopic { .. } => {
            let step = "name a topic that you may write to; an access rule allows it, such as kafka-acls --add makes";
            (StatusCode::FORBIDDEN, "denied", step)
        }
        SubscriptionError::Read(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "log_unreadable", "the broker's log says more")
        }
        SubscriptionError::Store { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "not_stored", "the broker's log says more")
        }
        SubscriptionError::Ended => {
            (StatusCode::SERVICE_UNAVAILABLE, "ended", "look whether its topic is still there")
        }
    }
}

fn of_dead_letter(error: &DeadLetterError) -> (StatusCode, &'static str, &'static str) {
    match error {
        DeadLetterError::Busy => (StatusCode::CONFLICT, "busy", "wait until it is done and try again"),
        DeadLetterError::TooManyRanges { .. } => (
            StatusCode::CONFLICT,
            "too_many_ranges",
            "replay or purge the older ones first, whatever their key",
        ),
        DeadLetterError::NoPartition { .. } => {
            (StatusCode::BAD_REQUEST, "partition_unknown", "name a partition that the topic has")
        }
        DeadLetterError::Read(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "log_unreadable", "the broker's log says more")
        }
        DeadLetterError::Append(_) | DeadLetterError::Store(_) | DeadLetterError::Record(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "not_stored", "try again; what was replayed may come twice")
        }
        DeadLetterError::Panicked => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal", "the broker's log says more; please report it")
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, next_step) = self.sorted();
        let error = Explanation { code, message: self.to_string(), next_step };
        let mut answer = (status, Json(Body { error })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        answer
    }
}
