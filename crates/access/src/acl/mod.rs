//! Access rules: who may do what to which resources, from where.

mod explanation;
mod filter;
mod pattern;
mod permission;
mod rule;
mod rules;
#[cfg(test)]
mod tests;

pub use explanation::Explanation;
pub use filter::{PatternFilter, RuleFilter};
pub use pattern::{Pattern, PatternType};
pub use permission::Permission;
pub use rule::{Rule, RuleError};
pub use rules::{Authorizer, Decision, Rules, Subject};
