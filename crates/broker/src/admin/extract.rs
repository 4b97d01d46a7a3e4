//! Path, query and body, with refusals in the form that everything else has.

use super::{Shared, error::ApiError};
use crate::topics::Topic;
use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{marker::PhantomData, sync::Arc};

/// Longest name of a subscription, bytes; the Danube front's limit.
const NAME_BYTES_MAX: usize = 1_024;

/// A JSON body. Its content type must say so, which keeps forms of foreign web pages out.
pub(super) struct Body<T>(pub(super) T);

/// The query's parameters.
pub(super) struct Parameters<T>(pub(super) T);

/// The topic that the path names by `topic`.
pub(super) struct OfTopic(pub(super) Arc<Topic>);

/// The subscription that the path names by `topic` and `name`; the topic exists, the subscription may not.
pub(super) struct Subscription {
    pub(super) topic: Arc<Topic>,
    pub(super) name: String,
}

/// A text that stands for a `T`.
#[derive(Deserialize)]
#[serde(from = "Option<String>", bound = "")]
pub(super) struct Name<T>(Option<String>, PhantomData<T>);

impl<T> From<Option<String>> for Name<T> {
    fn from(text: Option<String>) -> Self {
        Self(text, PhantomData)
    }
}

impl<T> Default for Name<T> {
    fn default() -> Self {
        Self(None, PhantomData)
    }
}

impl<T> Name<T> {
    /// What the text, or `default` in its absence, stands for.
    pub(super) fn or(
        self,
        default: &str,
        named: impl FnOnce(&str) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        named(self.0.as_deref().unwrap_or(default))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        read.map(|Json(body)| Self(body)).map_err(|error| unreadable(error.status(), error.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let read = Query::try_from_uri(&parts.uri);
        read.map(|Query(parameters)| Self(parameters))
            .map_err(|error| unreadable(error.status(), error.body_text()))
    }
}

impl FromRequestParts<Shared> for OfTopic {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, node: &Shared) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Named {
            topic: String,
        }
        let Named { topic } = path(parts, node).await?;
        Ok(Self(node.topics.named(&topic).ok_or(ApiError::UnknownTopic { topic })?))
    }
}

impl FromRequestParts<Shared> for Subscription {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, node: &Shared) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let OfTopic(topic) = OfTopic::from_request_parts(parts, node).await?;
        let Named { name } = path(parts, node).await?;
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(ApiError::SubscriptionName { bytes: name.len(), max: NAME_BYTES_MAX });
        }
        Ok(Self { topic, name })
    }
}

async fn path<T: DeserializeOwned + Send>(parts: &mut Parts, node: &Shared) -> Result<T, ApiError> {
    let read = Path::from_request_parts(parts, node).await;
    read.map(|Path(named)| named).map_err(|error| unreadable(error.status(), error.body_text()))
}

fn unreadable(status: StatusCode, reason: String) -> ApiError {
    ApiError::Unreadable { status, reason }
}
