//! One key that has messages.

use crate::entry::Entry;
use crate::slab::NIL;
use keyway_record::KeyHash;

/// A live key: its messages in offset order. The first few may be in flight; only the head is ever used up.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
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
    pub(crate) text: KeyText,
    /// Room for one of its messages; without a key of its own, it is free.
    pub(crate) beside: Entry,
}

impl Key {
    /// The place is now that of this key, of which no message is in memory; where it belongs was last decided at
    /// `version`.
    #[inline(always)]
    pub(crate) fn begin(&mut self, hash: KeyHash, text: &[u8], slot: u32, version: u32) {
        self.hash = hash;
        (self.head, self.tail, self.count) = (NIL, NIL, 0);
        (self.next, self.prev) = (NIL, NIL);
        (self.slot, self.version) = (slot, version);
        (self.run, self.spilled, self.ready) = (0, false, false);
        self.text = KeyText::new(text);
        self.beside.key = NIL;
    }
}

impl Default for Key {
    /// No key's place.
    fn default() -> Self {
        Self {
            hash: KeyHash(0),
            head: NIL,
            tail: NIL,
            count: 0,
            slot: NIL,
            next: NIL,
            prev: NIL,
            version: 0,
            run: 0,
            spilled: false,
            ready: false,
            text: KeyText::EMPTY,
            beside: Entry::default(),
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

    const EMPTY: Self = Self::Short { len: 0, bytes: [0; Self::SHORT_MAX] };

    #[inline]
    pub(crate) fn new(text: &[u8]) -> Self {
        if text.len() > Self::SHORT_MAX {
            return Self::Long(text.into());
        }
        let mut bytes = [0; Self::SHORT_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Self::Short { len: text.len() as u8, bytes }
    }

    /// Gives a long one's memory back.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if let Self::Long(_) = self {
            *self = Self::EMPTY;
        }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}
