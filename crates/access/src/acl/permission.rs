//! What a rule says about those that it matches.

/// Whether a rule grants or takes, with Kafka's code for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i8)]
pub enum Permission {
    /// Nobody whom the rule matches may, whatever other rules say.
    Deny = 2,
    /// Whom the rule matches may, unless another rule denies it.
    Allow = 3,
}

impl Permission {
    /// Kafka's number for it.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The permission of this number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        [Self::Deny, Self::Allow].into_iter().find(|permission| permission.code() == code)
    }
}
