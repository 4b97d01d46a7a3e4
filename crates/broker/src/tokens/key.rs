//! One key that tokens are checked by, as RFC 7517 writes it in JSON.

use super::algorithm::{Algorithm, Curve};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    hmac,
    signature::{RsaPublicKeyComponents, UnparsedPublicKey},
};
use serde::Deserialize;

/// Least bytes of a shared secret: a shorter one is found by trying, from a single token.
const SECRET_BYTES_MIN: usize = 32;

/// Bytes of an RSA modulus: 2,048 to 8,192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A key. Has no `Debug`: it may be a secret.
pub(super) struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, if it says so.
    algorithm: Option<String>,
    material: Material,
}

enum Material {
    Secret(Vec<u8>),
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ec { curve: Curve, point: Vec<u8> },
}

/// The members of a key that mean anything here.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Why a key of a set is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is for something else.
    #[error("it is not for signatures (use or key_ops)")]
    Usage,
    /// Keys of its kind verify nothing here.
    #[error("kty {kty:?} is none of RSA, EC and oct")]
    Type {
        /// The key's `kty`.
        kty: String,
    },
    /// Its `alg` is none that is verified here.
    #[error("alg {alg:?} is not one for signatures of keys of its kty, or not spoken")]
    Algorithm {
        /// The key's `alg`.
        alg: String,
    },
    /// A part of the key is missing or no base64url.
    #[error("{0} is missing, or not base64url without padding")]
    Part(&'static str),
    /// A shared secret is too easy to find.
    #[error("its secret has {bytes} bytes; {SECRET_BYTES_MIN} are the least. Make one by: openssl rand 32")]
    ShortSecret {
        /// The secret's length.
        bytes: usize,
    },
    /// An RSA key is too short or too long.
    #[error("its modulus has {bits} bits; 2,048 to 8,192 are taken")]
    Modulus {
        /// The modulus' length.
        bits: usize,
    },
    /// The curve or a point on it is none.
    #[error("crv is not P-256 or P-384, or x and y are not as long as it says")]
    Curve,
}

impl Key {
    /// Reads a key.
    pub(super) fn read(jwk: Jwk) -> Result<Self, KeyError> {
        let signs = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !signs {
            return Err(KeyError::Usage);
        }
        let material = match jwk.kty.as_str() {
            "oct" => secret(decoded("k", jwk.k.as_deref())?)?,
            "RSA" => rsa(decoded("n", jwk.n.as_deref())?, decoded("e", jwk.e.as_deref())?)?,
            "EC" => ec(&jwk)?,
            _ => return Err(KeyError::Type { kty: jwk.kty }),
        };
        let key = Self { id: jwk.kid, algorithm: jwk.alg, material };
        match &key.algorithm {
            Some(alg) if !Algorithm::named(alg).is_some_and(|known| key.takes(known)) => {
                Err(KeyError::Algorithm { alg: alg.clone() })
            }
            _ => Ok(key),
        }
    }

    /// Whether it is a secret that the issuer has, too.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.material, Material::Secret(_))
    }

    /// Whether tokens with this `alg` and `kid` may be signed by it. What kind of key it is decides, and never the
    /// token: a public key is no secret of HMAC.
    pub(super) fn fits(&self, name: &str, algorithm: Algorithm, id: Option<&str>) -> bool {
        let same = |own: Option<&str>, asked: Option<&str>| match (own, asked) {
            (Some(own), Some(asked)) => own == asked,
            _ => true,
        };
        self.takes(algorithm) && same(self.algorithm.as_deref(), Some(name)) && same(self.id.as_deref(), id)
    }

    /// Whether `signature` is one of this key, of `message`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (&self.material, algorithm) {
            (Material::Secret(secret), Algorithm::Hmac(algorithm)) => {
                hmac::verify(&hmac::Key::new(algorithm, secret), message, signature).is_ok()
            }
            (Material::Rsa { modulus, exponent }, Algorithm::Rsa(parameters)) => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signature).is_ok()
            }
            (Material::Ec { curve, point }, Algorithm::Ecdsa(of, algorithm)) if *curve == of => {
                UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }

    fn takes(&self, algorithm: Algorithm) -> bool {
        match (&self.material, algorithm) {
            // RFC 7518 wants a secret as long as the hash.
            (Material::Secret(secret), Algorithm::Hmac(algorithm)) => {
                secret.len() >= algorithm.digest_algorithm().output_len()
            }
            (Material::Rsa { .. }, Algorithm::Rsa(_)) => true,
            (Material::Ec { curve, .. }, Algorithm::Ecdsa(of, _)) => *curve == of,
            _ => false,
        }
    }
}

fn secret(bytes: Vec<u8>) -> Result<Material, KeyError> {
    match bytes.len() {
        short if short < SECRET_BYTES_MIN => Err(KeyError::ShortSecret { bytes: short }),
        _ => Ok(Material::Secret(bytes)),
    }
}

fn rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Result<Material, KeyError> {
    // Some issuers write a zero in front, which is no part of the number.
    let [modulus, exponent] = [modulus, exponent].map(|number| {
        let zeros = number.iter().take_while(|&&byte| byte == 0).count();
        number[zeros..].to_vec()
    });
    if exponent.is_empty() {
        return Err(KeyError::Part("e"));
    }
    if !MODULUS_BYTES.contains(&modulus.len()) {
        return Err(KeyError::Modulus { bits: 8 * modulus.len() });
    }
    Ok(Material::Rsa { modulus, exponent })
}

fn ec(jwk: &Jwk) -> Result<Material, KeyError> {
    let curve = jwk.crv.as_deref().and_then(Curve::named).ok_or(KeyError::Curve)?;
    let (x, y) = (decoded("x", jwk.x.as_deref())?, decoded("y", jwk.y.as_deref())?);
    if [&x, &y].iter().any(|number| number.len() != curve.coordinate_bytes()) {
        return Err(KeyError::Curve);
    }
    // The mark of a point with both of its coordinates.
    let point = [&[4][..], &x, &y].concat();
    Ok(Material::Ec { curve, point })
}

fn decoded(name: &'static str, text: Option<&str>) -> Result<Vec<u8>, KeyError> {
    let decoded = text.and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok());
    decoded.ok_or(KeyError::Part(name))
}
