//! CreateAcls: new access rules. One that is there already is no error.

use super::{
    acl_rule,
    call::{Call, Refused},
};
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{CreateAclsRequest, CreateAclsResponse, create_acls::*};

pub(super) async fn handle(call: &Call<'_>, request: CreateAclsRequest) -> CreateAclsResponse {
    let mut results = Vec::with_capacity(request.creations.len());
    let mut rules = Vec::with_capacity(request.creations.len());
    if let Err(refused) = call.permit(Operation::Alter, Resource::CLUSTER) {
        results.resize_with(request.creations.len(), || Err(refused.clone()));
    } else {
        for asked in request.creations {
            results.push(acl_rule::created(asked).map(|rule| rules.push(rule)));
        }
        // Rules that can be are made although others of the request cannot.
        if let Err(error) = call.node.access.add(call.caller, rules).await {
            let refused = acl_rule::refused(&error);
            results.iter_mut().for_each(|result| *result = Err(refused.clone()));
        }
    }
    let result = |made: Result<(), Refused>| match made {
        Ok(()) => AclCreationResult::default(),
        Err((error, message)) => AclCreationResult { error_code: error.code(), error_message: Some(message) },
    };
    CreateAclsResponse { results: results.into_iter().map(result).collect(), ..Default::default() }
}
