//! One key that has messages.

use crate::slab::grow_a_little;
use keyway_record::KeyHash;

/// A live key: its messages in offset order. The first few may be in flight; only the head is ever used up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) hash: KeyHash,
    pub(crate) head: u32,
    pub(crate) tail: u32,
    /// Messages.
    pub(crate) count: u32,
    /// The slot it hangs on while ready; a hint for the next time while `version` is current.
    pub(crate) slot: u32,
    pub(crate) next: u32,
    pub(crate) prev: u32,
    /// Version of the filters and members that `slot` was chosen by.
    pub(crate) version: u32,
    /// Messages in flight: the head and so many behind it.
    pub(crate) run: u16,
    /// Whether it has messages that are not in memory, all of them behind those that are.
    pub(crate) spilled: bool,
    /// Whether it hangs on its slot.
    pub(crate) ready: bool,
}

/// The live keys' bytes, by the keys' places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts(Vec<KeyText>);

impl Texts {
    #[inline]
    pub(crate) fn get(&self, key: u32) -> &[u8] {
        self.0.get(key as usize).map_or(&[], KeyText::as_bytes)
    }

    #[inline]
    pub(crate) fn set(&mut self, key: u32, text: &[u8]) {
        if key as usize >= self.0.len() {
            if text.is_empty() {
                return;
            }
            self.grow(key as usize + 1);
        }
        self.0[key as usize] = KeyText::new(text);
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        while self.0.len() < len {
            grow_a_little(&mut self.0);
            self.0.push(KeyText::EMPTY);
        }
    }

    /// The key is gone; keys' places end at `end`.
    #[inline]
    pub(crate) fn clear(&mut self, key: u32, end: usize) {
        if let Some(text @ KeyText::Long(_)) = self.0.get_mut(key as usize) {
            *text = KeyText::EMPTY;
        }
        if self.0.len() > end {
            self.0.truncate(end);
            self.0.shrink_to_fit();
        }
    }
}

/// A key's bytes: short ones without an allocation.
#[derive(Clone, Debug)]
pub(crate) enum KeyText {
    Short { len: u8, bytes: [u8; KeyText::SHORT_MAX] },
    Long(Box<[u8]>),
}

impl KeyText {
    const SHORT_MAX: usize = 22;

    pub(crate) const EMPTY: Self = Self::Short { len: 0, bytes: [0; Self::SHORT_MAX] };

    #[inline]
    pub(crate) fn new(text: &[u8]) -> Self {
        if text.len() > Self::SHORT_MAX {
            return Self::Long(text.into());
        }
        let mut bytes = [0; Self::SHORT_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Self::Short { len: text.len() as u8, bytes }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}
