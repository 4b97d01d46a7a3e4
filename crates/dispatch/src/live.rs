//! What is in memory: live keys, and messages that are not done.
//!
//! Most keys have one message. So a key has room for one of its messages beside it, and the usual message costs one place
//! instead of three: two neighbouring cache lines, found at once by whoever knows its index. The other messages of a key,
//! and those without one, live apart.

use crate::entry::Entry;
use crate::key::Key;
use crate::slab::{NIL, Slab};
use std::ops::{Index, IndexMut};

/// Set in the index of a message that does not live beside its key.
const APART: u32 = 1 << 31;

/// Keys by their places, and messages by their indices.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) keys: Slab<Key>,
    apart: Slab<Entry>,
    /// Messages.
    len: usize,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self { keys: Slab::new(), apart: Slab::new(), len: 0 }
    }

    /// Messages.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Gives a message its place: beside its key if that is free.
    #[inline]
    pub(crate) fn insert(&mut self, entry: Entry) -> u32 {
        self.len += 1;
        if entry.key != NIL && self.keys[entry.key].beside.key == NIL {
            let key = entry.key;
            self.keys[key].beside = entry;
            return key;
        }
        let index = self.apart.add();
        self.apart[index] = entry;
        assert!(index < APART - 1, "indices of messages differ from those of keys, and from none");
        index | APART
    }

    /// The place of a key that becomes live.
    #[inline]
    pub(crate) fn add_key(&mut self) -> u32 {
        let index = self.keys.add();
        assert!(index < APART, "indices of keys differ from those of messages");
        index
    }

    /// A message was put beside its key.
    #[inline]
    pub(crate) fn count_beside(&mut self) {
        self.len += 1;
    }

    /// A message, and how many messages of its key are in flight.
    #[inline]
    pub(crate) fn with_run(&mut self, index: u32) -> (&mut Entry, Option<&mut u16>) {
        if index < APART {
            let Key { beside, run, .. } = &mut self.keys[index];
            return (beside, Some(run));
        }
        let entry = &mut self.apart[index & !APART];
        let run = (entry.key != NIL).then(|| &mut self.keys[entry.key].run);
        (entry, run)
    }

    /// The message is done; nobody holds its index any more.
    #[inline]
    pub(crate) fn free(&mut self, index: u32) {
        self.len -= 1;
        if index < APART {
            self.keys[index].beside.key = NIL;
        } else {
            self.apart.free(index & !APART);
        }
    }

    /// A key is live no more, and neither is a message of it.
    #[inline]
    pub(crate) fn free_key(&mut self, index: u32) {
        let key = &mut self.keys[index];
        assert!(key.beside.key == NIL, "a key goes after its messages");
        key.text.clear();
        self.keys.free(index);
    }

    /// Both at once.
    #[inline]
    pub(crate) fn free_single(&mut self, index: u32) {
        self.len -= 1;
        let key = &mut self.keys[index];
        key.beside.key = NIL;
        key.text.clear();
        self.keys.free(index);
    }

    /// Reads a little of keys and of the messages beside them, or of messages that live apart and of their keys.
    #[inline]
    pub(crate) fn read_messages(&self, indices: &[u32]) -> u64 {
        let (mut read, mut all_beside) = (0, true);
        for &index in indices {
            match self.keys.get(index) {
                Some(key) => read ^= u64::from(key.head) ^ u64::from(key.beside.size),
                None => all_beside = false,
            }
        }
        if !all_beside {
            let apart = indices.iter().filter(|&&index| index >= APART);
            for entry in apart.filter_map(|&index| self.apart.get(index & !APART)) {
                read ^= u64::from(self.keys.get(entry.key).map_or(NIL, |key| key.head));
            }
        }
        read
    }

    /// A key's bytes.
    #[inline]
    pub(crate) fn text(&self, key: u32) -> &[u8] {
        self.keys[key].text.as_bytes()
    }
}

impl Index<u32> for Live {
    type Output = Entry;

    #[inline]
    fn index(&self, index: u32) -> &Entry {
        if index < APART { &self.keys[index].beside } else { &self.apart[index & !APART] }
    }
}

impl IndexMut<u32> for Live {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Entry {
        if index < APART { &mut self.keys[index].beside } else { &mut self.apart[index & !APART] }
    }
}
