//! Lines of settings, which administrators write and clients' certificates are put through: JAAS, rules of principals, ACL
//! names.

use keyway_access::{Jaas, PrincipalMapping};

/// The name that the rules are put to; a part of the data.
const NAME_BYTES_MAX: usize = 200;

/// See the module.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(jaas) = Jaas::parse(text) {
        let _ = jaas.plain_users().count();
    }
    let (rules, name) = text.rsplit_once('\n').unwrap_or((text, "CN=ann,OU=x,O=y"));
    if let Ok(mapping) = PrincipalMapping::parse(rules)
        && name.len() <= NAME_BYTES_MAX
    {
        let _ = mapping.principal(name);
    }
}
