//! Kafka's varints: unsigned LEB128, and the zigzag form that records use.

use bytes::BufMut;

/// Appends `value` as an unsigned varint, 1 to 10 bytes.
pub fn put_unsigned(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Appends `value` as a zigzag varint, 1 to 10 bytes.
pub fn put_signed(out: &mut impl BufMut, value: i64) {
    put_unsigned(out, zigzag(value));
}

/// Bytes that [`put_signed`] writes for `value`.
#[must_use]
pub fn signed_len(value: i64) -> usize {
    unsigned_len(zigzag(value))
}

/// Bytes that [`put_unsigned`] writes for `value`.
#[must_use]
pub fn unsigned_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Takes an unsigned varint of at most 64 bits from the front of `input`; `None` if it is cut or too long.
#[inline]
pub fn take_unsigned(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, &byte) in input.iter().enumerate().take(10) {
        if index == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *input = &input[index + 1..];
            return Some(value);
        }
    }
    None
}

/// Takes a zigzag varint from the front of `input`; `None` if it is cut or too long.
#[inline]
pub fn take_signed(input: &mut &[u8]) -> Option<i64> {
    take_unsigned(input).map(|raw| (raw >> 1) as i64 ^ -((raw & 1) as i64))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_comes_back(value: i64) {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, value);
            prop_assert_eq!(bytes.len(), signed_len(value));
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take_signed(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn cut_or_overlong_input_is_refused() {
        assert_eq!(take_unsigned(&mut [0x80u8, 0x80].as_slice()), None);
        assert_eq!(take_unsigned(&mut [0xffu8; 11].as_slice()), None);
        assert_eq!(take_unsigned(&mut [].as_slice()), None);
    }
}
