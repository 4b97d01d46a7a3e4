//! The settings of who decides what clients may do.

use super::{SettingError, layers::Layers};
use keyway_access::{Principal, acl::Permission};
use std::collections::{BTreeMap, BTreeSet};

const CLASS: &str = "authorizer.class.name";
const SUPER_USERS: &str = "super.users";
const WITHOUT_RULE: &str = "allow.everyone.if.no.acl.found";

/// Kafka's own authorizers, the second of them that of its time with ZooKeeper; both mean the rules kept here.
const CLASSES: [&str; 2] =
    ["org.apache.kafka.metadata.authorizer.StandardAuthorizer", "kafka.security.authorizer.AclAuthorizer"];

/// What an authorizer is told where the broker is started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorizerSettings {
    /// Who may do everything.
    pub super_users: BTreeSet<Principal>,
    /// What holds for resources that no rule is about.
    pub without_rule: Permission,
}

impl AuthorizerSettings {
    /// The authorizer's settings among those that a broker is started with, or `None` where there is none.
    pub fn read(settings: &BTreeMap<String, String>) -> Result<Option<Self>, SettingError> {
        Self::of(&Layers { start: settings.clone(), ..Layers::default() })
    }

    /// The authorizer's settings, or `None` where there is none.
    pub(super) fn of(layers: &Layers) -> Result<Option<Self>, SettingError> {
        let class = layers.value(CLASS).unwrap_or_default();
        match class.trim() {
            "" => return Ok(None),
            class if CLASSES.contains(&class) => {}
            class => {
                return Err(SettingError::Value {
                    name: CLASS.to_owned(),
                    value: class.to_owned(),
                    expected: format!("{}, as no Java class is loaded, or nothing", CLASSES[0]),
                });
            }
        }
        let text = |name| layers.start.get(name).map(String::as_str).unwrap_or_default();
        let users = text(SUPER_USERS).split(';').map(str::trim).filter(|user| !user.is_empty());
        let super_users = users.map(str::parse).collect::<Result<_, _>>();
        Ok(Some(Self {
            super_users: super_users.map_err(|error: keyway_access::PrincipalError| SettingError::Value {
                name: SUPER_USERS.to_owned(),
                value: text(SUPER_USERS).to_owned(),
                expected: format!("principals with ';' between them: {error}"),
            })?,
            without_rule: match text(WITHOUT_RULE).trim().eq_ignore_ascii_case("true") {
                true => Permission::Allow,
                false => Permission::Deny,
            },
        }))
    }
}

/// Checks a setting that Kafka leaves to its authorizer and so has not in its own table; `None` for any other.
pub(super) fn check(name: &str, value: &str) -> Option<Result<(), SettingError>> {
    match name {
        SUPER_USERS => Some(Ok(())),
        WITHOUT_RULE if ["true", "false", ""].contains(&value.trim().to_lowercase().as_str()) => Some(Ok(())),
        WITHOUT_RULE => {
            let (name, value, expected) = (name.to_owned(), value.to_owned(), "true or false".to_owned());
            Some(Err(SettingError::Value { name, value, expected }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Option<AuthorizerSettings>, SettingError> {
        let start = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        AuthorizerSettings::read(&start)
    }

    #[test]
    fn kafkas_authorizers_are_known_and_no_other() {
        assert_eq!(read(&[]), Ok(None));
        for class in CLASSES {
            let settings = [(CLASS, class), (SUPER_USERS, "User:CN=a,O=b; User:root ;")];
            let read = read(&settings).unwrap().unwrap();
            assert_eq!(read.super_users, ["CN=a,O=b", "root"].map(Principal::user).into());
            assert_eq!(read.without_rule, Permission::Deny);
        }
        assert!(read(&[(CLASS, "com.example.Own")]).is_err());
        assert!(read(&[(CLASS, CLASSES[0]), (SUPER_USERS, "root")]).is_err());
        let open = read(&[(CLASS, CLASSES[0]), (WITHOUT_RULE, "True")]).unwrap().unwrap();
        assert_eq!(open.without_rule, Permission::Allow);
        assert!(check(WITHOUT_RULE, "maybe").unwrap().is_err());
    }
}
