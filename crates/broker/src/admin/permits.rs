//! What a request needs, beside each route: there is no way to add a route without saying so.

use super::{Shared, error::ApiError};
use crate::access::Caller;
use axum::{
    Router,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    handler::Handler,
    http::Method,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use keyway_access::{Operation, Resource};
use std::sync::Arc;

/// What one has to be allowed: the topic and the subscription, which is a group, are those that the path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    Cluster(Operation),
    Topic(Operation),
    Group(Operation),
}

/// Routes with what they need.
pub(super) struct Routes {
    node: Shared,
    router: Router<Shared>,
    #[cfg(test)]
    pub(super) listed: Vec<(Method, String)>,
}

impl Routes {
    pub(super) fn new(node: Shared) -> Self {
        Self {
            node,
            router: Router::new(),
            #[cfg(test)]
            listed: Vec::new(),
        }
    }

    /// Adds a route whose caller has to be allowed all of `needs`; none, for everybody.
    pub(super) fn route<H: Handler<T, Shared>, T: 'static>(
        mut self,
        method: Method,
        path: &str,
        needs: &'static [Need],
        handler: H,
    ) -> Self {
        #[cfg(test)]
        self.listed.push((method.clone(), path.to_owned()));
        let state = Guard { node: self.node.clone(), needs };
        let method = MethodFilter::try_from(method).expect("a method of HTTP's own");
        let guarded = on(method, handler).route_layer(middleware::from_fn_with_state(state, check));
        self.router = self.router.route(path, guarded);
        self
    }

    pub(super) fn into_router(self) -> Router<Shared> {
        self.router
    }
}

#[derive(Clone)]
struct Guard {
    node: Shared,
    needs: &'static [Need],
}

async fn check(
    State(Guard { node, needs }): State<Guard>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let path = match path {
        Ok(path) => path,
        Err(error) => {
            return ApiError::Unreadable { status: error.status(), reason: error.body_text() }
                .into_response();
        }
    };
    let named = |wanted: &str| path.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value);
    if node.access.is_enforced() {
        let caller =
            request.extensions().get::<Arc<Caller>>().expect("every request has its caller beside it");
        for need in needs {
            let (operation, resource) = match *need {
                Need::Cluster(operation) => (operation, Resource::CLUSTER),
                Need::Topic(operation) => (operation, Resource::topic(named("topic"))),
                Need::Group(operation) => (operation, Resource::group(named("name"))),
            };
            if !node.access.allows(caller, operation, resource) {
                let principal = caller.principal.to_string();
                let resource = resource.to_string();
                return ApiError::Denied { principal, operation, resource }.into_response();
            }
        }
    }
    next.run(request).await
}
