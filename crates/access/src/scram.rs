//! SCRAM: a login that sends no password, and keys from which nobody can log in (RFC 5802, RFC 7677).
//!
//! What is kept of a password is a [`ScramCredential`]; [`ScramExchange`] is the server's half of one login.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};
use std::fmt;
use subtle::ConstantTimeEq;

/// Longest message of a client, bytes; a name and a nonce fit many times.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Most iterations that a stored credential may have, as in Kafka: each login costs the client as many.
pub const ITERATIONS_MAX: u32 = 16_384;

/// A hash function to log in with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramMechanism {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Fewest iterations, as in Kafka.
    pub const ITERATIONS_MIN: u32 = 4_096;

    /// Its name in SASL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Kafka's number of it.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// The mechanism of this number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.code() == code)
    }

    fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        const ANY_KEY: &str = "HMAC takes keys of any length";
        match self {
            Self::Sha256 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).expect(ANY_KEY);
                parts.iter().for_each(|part| mac.update(part));
                mac.finalize().into_bytes().to_vec()
            }
            Self::Sha512 => {
                let mut mac = Hmac::<Sha512>::new_from_slice(key).expect(ANY_KEY);
                parts.iter().for_each(|part| mac.update(part));
                mac.finalize().into_bytes().to_vec()
            }
        }
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    /// Length of its hashes, bytes.
    #[must_use]
    pub fn hash_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// What the password comes to with this salt: the costly step.
    #[must_use]
    pub fn salted_password(self, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut out = vec![0; self.hash_bytes()];
        match self {
            Self::Sha256 => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut out);
            }
            Self::Sha512 => {
                pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), salt, iterations, &mut out);
            }
        }
        out
    }
}

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// Which hash function it is for.
    pub mechanism: ScramMechanism,
    /// Random bytes that went in with the password.
    pub salt: Vec<u8>,
    /// How often the password was hashed.
    pub iterations: u32,
    /// What a client's proof is checked with.
    pub stored_key: Vec<u8>,
    /// What the server proves itself with.
    pub server_key: Vec<u8>,
}

impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} iterations", self.mechanism.name(), self.iterations)
    }
}

impl ScramCredential {
    /// Of a password.
    #[must_use]
    pub fn of_password(mechanism: ScramMechanism, password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let salted = mechanism.salted_password(password, &salt, iterations);
        Self::of_salted_password(mechanism, &salted, salt, iterations)
    }

    /// Of a password that was salted already, as Kafka's tools send it.
    #[must_use]
    pub fn of_salted_password(
        mechanism: ScramMechanism,
        salted: &[u8],
        salt: Vec<u8>,
        iterations: u32,
    ) -> Self {
        let stored_key = mechanism.hash(&mechanism.hmac(salted, &[b"Client Key"]));
        let server_key = mechanism.hmac(salted, &[b"Server Key"]);
        Self { mechanism, salt, iterations, stored_key, server_key }
    }

    /// What an exchange with a user that does not exist goes on with: always the same for a name, and no password fits.
    #[must_use]
    pub fn of_nobody(mechanism: ScramMechanism, secret: &[u8], name: &str, iterations: u32) -> Self {
        let part = |what: &[u8]| mechanism.hmac(secret, &[what, name.as_bytes()]);
        let salt = part(b"salt")[..16].to_vec();
        Self { mechanism, salt, iterations, stored_key: part(b"stored"), server_key: part(b"server") }
    }

    /// Whether it is of this password. Costly.
    #[must_use]
    pub fn matches(&self, password: &str) -> bool {
        let salted = self.mechanism.salted_password(password, &self.salt, self.iterations);
        let other = Self::of_salted_password(self.mechanism, &salted, self.salt.clone(), self.iterations);
        bool::from(self.stored_key.ct_eq(&other.stored_key))
    }
}

/// Why a login by SCRAM fails.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScramError {
    /// A message of the client cannot be read.
    #[error("the client's message is no {0} of SCRAM")]
    Malformed(&'static str),
    /// The user logs in for somebody else.
    #[error("Authentication failed: Client requested an authorization id that is different from username")]
    OtherUser,
    /// Delegation tokens are not spoken.
    #[error("delegation tokens are not spoken")]
    DelegationToken,
    /// The client repeats another nonce than it got.
    #[error("the nonce of the client's last message is another")]
    Nonce,
    /// The proof is not of this user's password.
    #[error("the password is wrong, or there is no such user")]
    Proof,
}

/// The client's first message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientFirst {
    /// Who wants to log in.
    pub user: String,
    header: String,
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// Reads `n,,n=user,r=nonce`, with or without `a=user` in the middle of its head.
    pub fn parse(message: &[u8]) -> Result<Self, ScramError> {
        let wrong = || ScramError::Malformed("first message");
        let text = text(message).ok_or_else(wrong)?;
        let (flag, rest) = text.split_once(',').ok_or_else(wrong)?;
        let (authorization, bare) = rest.split_once(',').ok_or_else(wrong)?;
        // Nothing is bound to the channel: TLS says who the server is.
        if !matches!(flag, "n" | "y") {
            return Err(wrong());
        }
        let mut fields = bare.split(',');
        let user = fields.next().and_then(|field| field.strip_prefix("n=")).ok_or_else(wrong)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or_else(wrong)?;
        let user = user_name(user).filter(|user| !user.is_empty()).ok_or_else(wrong)?;
        if nonce.is_empty() {
            return Err(wrong());
        }
        if fields.any(|field| field.eq_ignore_ascii_case("tokenauth=true")) {
            return Err(ScramError::DelegationToken);
        }
        if !authorization.is_empty() {
            let other = authorization.strip_prefix("a=").and_then(user_name).ok_or_else(wrong)?;
            if other != user {
                return Err(ScramError::OtherUser);
            }
        }
        let header = format!("{flag},{authorization},");
        Ok(Self { user, header, bare: bare.to_owned(), nonce: nonce.to_owned() })
    }
}

/// The server's half of one login, after the client's first message.
#[derive(Clone, Debug)]
pub struct ScramExchange {
    first: ClientFirst,
    credential: ScramCredential,
    nonce: String,
    server_first: String,
}

impl ScramExchange {
    /// Answers the first message. `credential` is that of its user, `nonce` is random and printable.
    #[must_use]
    pub fn begin(first: ClientFirst, credential: ScramCredential, nonce: &str) -> (Self, Vec<u8>) {
        let nonce = format!("{}{nonce}", first.nonce);
        let salt = BASE64_STANDARD.encode(&credential.salt);
        let server_first = format!("r={nonce},s={salt},i={}", credential.iterations);
        let answer = server_first.clone().into_bytes();
        (Self { first, credential, nonce, server_first }, answer)
    }

    /// Who logs in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.first.user
    }

    /// Checks the client's proof; the server's own, if it is right.
    pub fn finish(&self, message: &[u8]) -> Result<Vec<u8>, ScramError> {
        let wrong = || ScramError::Malformed("last message");
        let text = text(message).ok_or_else(wrong)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or_else(wrong)?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|field| field.strip_prefix("c=")).ok_or_else(wrong)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or_else(wrong)?;
        if !bool::from(nonce.as_bytes().ct_eq(self.nonce.as_bytes())) {
            return Err(ScramError::Nonce);
        }
        if BASE64_STANDARD.decode(binding).map_err(|_| wrong())? != self.first.header.as_bytes() {
            return Err(wrong());
        }
        let proof = BASE64_STANDARD.decode(proof).map_err(|_| wrong())?;
        let ScramCredential { mechanism, stored_key, server_key, .. } = &self.credential;
        let messages: [&[u8]; 5] =
            [self.first.bare.as_bytes(), b",", self.server_first.as_bytes(), b",", without_proof.as_bytes()];
        let signature = mechanism.hmac(stored_key, &messages);
        if proof.len() != signature.len() {
            return Err(ScramError::Proof);
        }
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        if !bool::from(mechanism.hash(&client_key).ct_eq(stored_key)) {
            return Err(ScramError::Proof);
        }
        let proof = BASE64_STANDARD.encode(mechanism.hmac(server_key, &messages));
        Ok(format!("v={proof}").into_bytes())
    }
}

fn text(message: &[u8]) -> Option<&str> {
    str::from_utf8(message).ok().filter(|text| text.len() <= MESSAGE_BYTES_MAX)
}

/// A name without its escapes: `=2C` is a comma, `=3D` an equals sign.
fn user_name(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (char, rest) = match part.get(..2)? {
            "2C" => (',', &part[2..]),
            "3D" => ('=', &part[2..]),
            _ => return None,
        };
        name.push(char);
        name.push_str(rest);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_exchange_of_the_standard_succeeds() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let credential = ScramCredential::of_password(ScramMechanism::Sha256, "pencil", salt, 4096);
        assert!(credential.matches("pencil") && !credential.matches("pencils"));
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        let (exchange, answer) = ScramExchange::begin(first, credential, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        let expected =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(answer, expected.as_bytes());
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let proof = exchange.finish(last.as_bytes()).unwrap();
        assert_eq!(proof, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        for (from, to, error) in [
            ("p=dH", "p=eH", ScramError::Proof),
            ("$k0", "$k1", ScramError::Nonce),
            ("c=biws", "c=eSws", ScramError::Malformed("last message")),
            (",p=", ",q=", ScramError::Malformed("last message")),
        ] {
            assert_eq!(exchange.finish(last.replace(from, to).as_bytes()), Err(error), "{from}");
        }
    }

    #[test]
    fn first_messages_are_read_as_kafka_reads_them() {
        let user = |message: &str| ClientFirst::parse(message.as_bytes()).map(|first| first.user);
        assert_eq!(user("n,a=a=3D=2Cb,n=a=3D=2Cb,r=x"), Ok("a=,b".to_owned()));
        assert_eq!(user("n,a=b,n=a,r=x"), Err(ScramError::OtherUser));
        assert_eq!(user("n,,n=a,r=x,tokenauth=true"), Err(ScramError::DelegationToken));
        for message in
            ["", "n,,n=a", "n,,r=x,n=a", "n,,n=,r=x", "p=tls,,n=a,r=x", "n,,n=a=2,r=x", "n,,n=a,r="]
        {
            assert_eq!(user(message), Err(ScramError::Malformed("first message")), "{message}");
        }
    }

    #[test]
    fn nobody_gets_an_answer_like_anybody_and_never_in() {
        for mechanism in ScramMechanism::ALL {
            let nobody = |name| ScramCredential::of_nobody(mechanism, b"secret", name, 4096);
            assert_eq!(nobody("a"), nobody("a"), "asked again, it is the same");
            assert_ne!(nobody("a").salt, nobody("b").salt);
            assert!(!nobody("a").matches("") && nobody("a").salt.len() == 16);
            let known = ScramCredential::of_password(mechanism, "x", vec![1; 16], 4096);
            assert_eq!(known.stored_key.len(), nobody("a").stored_key.len());
            assert_eq!(ScramMechanism::from_code(mechanism.code()), Some(mechanism));
        }
    }
}
