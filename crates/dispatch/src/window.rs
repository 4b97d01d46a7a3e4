//! What became of every offset between the cursor and the end of what was read.
//!
//! Pages of 1,024 offsets: 4 bytes for each offset's entry, and one bit that says whether it is done, so that the cursor
//! and whoever looks for what is live pass 64 offsets at a time. A page whose offsets are all done is given back at once,
//! wherever it lies.

use crate::slab::NIL;
use std::collections::VecDeque;
use std::ops::Range;

const PAGE: i64 = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 10;
const WORDS: usize = PAGE as usize / 64;
const UNREAD: u32 = NIL;
const DONE: u32 = NIL - 1;
const SPILLED: u32 = NIL - 2;
/// Pages kept for reuse, beside a quarter of those in use: a busy cursor comes and goes by that much.
const SPARE_MIN: usize = 4;

/// State of one offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cell {
    /// Not read yet.
    Unread,
    /// Gap, acked, skipped, written elsewhere or lost.
    Done,
    /// Read and not done, but without an entry: its key is hot, and it will be read again.
    Spilled,
    /// The message's entry.
    Live(u32),
}

#[derive(Clone, Debug)]
struct Page {
    cells: [u32; PAGE as usize],
    /// A bit per cell.
    done: [u64; WORDS],
    /// Bits that are set.
    count: u32,
}

impl Page {
    const NEW: Self = Self { cells: [UNREAD; PAGE as usize], done: [0; WORDS], count: 0 };
}

#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// First offset of the first page.
    base: i64,
    /// None: everything in it is done.
    pages: VecDeque<Option<Box<Page>>>,
    spare: Vec<Box<Page>>,
    cursor: i64,
    next_read: i64,
    /// Nothing from here on is done before it is read.
    done_end: i64,
}

impl Window {
    pub(crate) fn new(start: i64) -> Self {
        let base = start - start % PAGE;
        Self {
            base,
            pages: VecDeque::new(),
            spare: Vec::new(),
            cursor: start,
            next_read: start,
            done_end: start,
        }
    }

    /// The lowest offset that is not done.
    #[inline]
    pub(crate) fn cursor(&self) -> i64 {
        self.cursor
    }

    /// The offset to read next.
    #[inline]
    pub(crate) fn next_read(&self) -> i64 {
        self.next_read
    }

    /// Offsets between the cursor and the end of what was read.
    #[inline]
    pub(crate) fn span(&self) -> i64 {
        self.next_read - self.cursor
    }

    /// The end of what the pages say anything about.
    #[inline]
    pub(crate) fn end(&self) -> i64 {
        self.pages_end().max(self.next_read)
    }

    fn pages_end(&self) -> i64 {
        self.base + ((self.pages.len() as i64) << PAGE_BITS)
    }

    /// The page of an offset that is not below the cursor, and its place there.
    #[inline]
    fn place(&self, offset: i64) -> (usize, usize) {
        let at = (offset - self.base) as u64;
        ((at >> PAGE_BITS) as usize, (at % PAGE as u64) as usize)
    }

    /// The entry of an offset; `NIL` if it has none.
    #[inline]
    pub(crate) fn live_at(&self, offset: i64) -> u32 {
        match self.get(offset) {
            Cell::Live(entry) => entry,
            _ => NIL,
        }
    }

    #[inline]
    pub(crate) fn get(&self, offset: i64) -> Cell {
        if offset < self.cursor {
            return Cell::Done;
        }
        let (page, at) = self.place(offset);
        match self.pages.get(page) {
            None => Cell::Unread,
            Some(None) => Cell::Done,
            Some(Some(page)) => match page.cells[at] {
                UNREAD => Cell::Unread,
                DONE => Cell::Done,
                SPILLED => Cell::Spilled,
                entry => Cell::Live(entry),
            },
        }
    }

    /// Whether this offset, which was not read, was done before.
    #[inline]
    pub(crate) fn is_done_ahead(&self, offset: i64) -> bool {
        offset < self.done_end && self.get(offset) == Cell::Done
    }

    #[inline]
    pub(crate) fn set_live(&mut self, offset: i64, entry: u32) {
        assert!(entry < SPILLED);
        self.set_open(offset, entry);
    }

    pub(crate) fn set_spilled(&mut self, offset: i64) {
        self.set_open(offset, SPILLED);
    }

    #[inline]
    fn set_open(&mut self, offset: i64, value: u32) {
        assert!(offset >= self.cursor, "an offset below the cursor is done");
        let (page, at) = self.place(offset);
        if page >= self.pages.len() {
            self.add_pages(page);
        }
        self.pages[page].as_mut().expect("what is done stays done").cells[at] = value;
    }

    #[inline(always)]
    pub(crate) fn set_done(&mut self, offset: i64) {
        assert!(offset >= self.cursor, "an offset below the cursor is done");
        let (index, at) = self.place(offset);
        if index >= self.pages.len() {
            self.add_pages(index);
        }
        if offset >= self.next_read {
            self.done_end = self.done_end.max(offset + 1);
        }
        let Some(page) = &mut self.pages[index] else { return };
        let (word, bit) = (&mut page.done[at / 64], 1 << (at % 64));
        page.count += u32::from(*word & bit == 0);
        *word |= bit;
        page.cells[at] = DONE;
        if i64::from(page.count) == PAGE {
            self.give_back(index);
        }
    }

    #[cold]
    fn add_pages(&mut self, last: usize) {
        while last >= self.pages.len() {
            let page = match self.spare.pop() {
                Some(mut page) => {
                    *page = Page::NEW;
                    page
                }
                None => Box::new(Page::NEW),
            };
            self.pages.push_back(Some(page));
        }
    }

    #[cold]
    fn give_back(&mut self, index: usize) {
        if let Some(page) = self.pages[index].take() {
            self.keep(page);
        }
    }

    fn keep(&mut self, page: Box<Page>) {
        self.spare.truncate(SPARE_MIN + self.pages.len() / 4);
        self.spare.push(page);
    }

    /// Everything from `next_read` to `to` that has no entry is done.
    #[inline]
    pub(crate) fn read_up_to(&mut self, to: i64) {
        for offset in self.next_read..to {
            if self.get(offset) == Cell::Unread {
                self.set_done(offset);
            }
        }
        self.next_read = self.next_read.max(to);
    }

    /// The record at `next_read` now has an entry (or was done before).
    #[inline]
    pub(crate) fn read_one(&mut self) {
        self.next_read += 1;
    }

    /// Steps over offsets that a former owner completed. Needs [`Self::advance`] first.
    pub(crate) fn skip_done(&mut self) {
        self.next_read = self.next_read.max(self.cursor);
        while self.next_read < self.pages_end() {
            let done = self.done_from(self.next_read);
            self.next_read += done;
            if done == 0 {
                break;
            }
        }
    }

    /// How many offsets from this one on are done; not all, but none only if this one is not.
    fn done_from(&self, offset: i64) -> i64 {
        let (page, at) = self.place(offset);
        match &self.pages[page] {
            None => PAGE - at as i64,
            Some(page) => i64::from((page.done[at / 64] >> (at % 64)).trailing_ones()),
        }
    }

    /// Moves the cursor over what is done; whether it moved.
    pub(crate) fn advance(&mut self) -> bool {
        let before = self.cursor;
        while !self.pages.is_empty() {
            let done = self.done_from(self.cursor);
            self.cursor += done;
            if done == 0 {
                break;
            }
            if self.cursor - self.base >= PAGE {
                self.base += PAGE;
                if let Some(Some(page)) = self.pages.pop_front() {
                    self.keep(page);
                }
            }
        }
        if self.pages.is_empty() {
            self.base = self.cursor - self.cursor % PAGE;
        }
        self.next_read = self.next_read.max(self.cursor);
        self.cursor > before
    }

    /// Goes on at `to`; nothing below it is wanted and nothing is live.
    pub(crate) fn jump(&mut self, to: i64) {
        assert!(to >= self.cursor, "the cursor never goes back");
        if to >= self.pages_end() {
            self.pages.clear();
            self.base = to - to % PAGE;
            self.cursor = to;
            self.next_read = to;
        } else {
            self.read_up_to(to);
            self.advance();
        }
    }

    /// The offsets that have an entry, from the cursor to `to`. Costs time in proportion to
    /// them, to what is spilled and to a 64th of the span.
    pub(crate) fn live(&self, to: i64) -> impl Iterator<Item = (i64, u32)> {
        let mut at = self.cursor;
        let to = to.min(self.next_read);
        std::iter::from_fn(move || {
            while at < to {
                match self.done_from(at) {
                    0 => {
                        at += 1;
                        match self.get(at - 1) {
                            Cell::Live(entry) => return Some((at - 1, entry)),
                            Cell::Spilled => {}
                            cell => unreachable!("what was read is live, spilled or done, not {cell:?}"),
                        }
                    }
                    done => at += done,
                }
            }
            None
        })
    }

    /// What is done beyond the cursor, as ranges apart from each other. Costs time in proportion to them and to a 64th
    /// of the span.
    pub(crate) fn done_ranges(&self) -> Vec<Range<i64>> {
        let mut ranges: Vec<Range<i64>> = Vec::new();
        let mut at = self.cursor;
        while at < self.pages_end() {
            let done = self.done_from(at);
            if done == 0 {
                at += self.open_from(at);
                continue;
            }
            match ranges.last_mut() {
                Some(range) if range.end == at => range.end += done,
                _ => ranges.push(at..at + done),
            }
            at += done;
        }
        ranges
    }

    /// How many offsets from this one on are not done; not all.
    fn open_from(&self, offset: i64) -> i64 {
        let (page, at) = self.place(offset);
        let left = 64 - at as u32 % 64;
        self.pages[page]
            .as_ref()
            .map_or(0, |page| i64::from((page.done[at / 64] >> (at % 64)).trailing_zeros().min(left)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_moves_over_what_is_done_and_pages_come_back() {
        let mut window = Window::new(1_000);
        for offset in 1_000..5_000 {
            window.set_live(offset, (offset - 1_000) as u32);
            window.read_one();
        }
        assert_eq!(window.span(), 4_000);
        for offset in (1_000..5_000).rev() {
            assert!(!window.advance());
            window.set_done(offset);
        }
        assert!(window.advance());
        assert_eq!((window.cursor(), window.next_read(), window.span()), (5_000, 5_000, 0));
        assert_eq!(window.get(4_999), Cell::Done);
        assert_eq!(window.get(5_000), Cell::Unread);
    }

    #[test]
    fn what_is_done_in_the_middle_costs_no_page() {
        let mut window = Window::new(0);
        for offset in 0..10_000 {
            window.set_live(offset, offset as u32);
            window.read_one();
        }
        (1..9_999).chain([9_999]).for_each(|offset| window.set_done(offset));
        assert_eq!(
            window.pages.iter().flatten().count(),
            2,
            "the first, and the last, of which not all was read"
        );
        assert_eq!(Vec::from_iter(window.live(10_000)), [(0, 0)]);
        assert_eq!((window.done_ranges().len(), window.done_ranges()[0].clone()), (1, 1..10_000));
        assert_eq!((window.get(5_000), window.get(10_000)), (Cell::Done, Cell::Unread));
        window.set_done(0);
        assert!(window.advance());
        assert_eq!((window.cursor(), window.done_ranges()), (10_000, vec![]));
    }

    #[test]
    fn ranges_and_live_offsets_agree_with_a_look_at_each() {
        let mut window = Window::new(700);
        let mut random = 1u64;
        for offset in 700..9_000 {
            window.set_live(offset, offset as u32);
            window.read_one();
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            if random >> 61 < (offset as u64 / 1_000) % 9 {
                window.set_done(offset);
            }
        }
        window.advance();
        let live = |offset: &i64| matches!(window.get(*offset), Cell::Live(_));
        let expected: Vec<i64> = (window.cursor()..9_000).filter(live).collect();
        assert_eq!(Vec::from_iter(window.live(9_000).map(|(offset, _)| offset)), expected);
        let done: Vec<i64> = window.done_ranges().into_iter().flatten().collect();
        let expected: Vec<i64> =
            (window.cursor()..10_000).filter(|&offset| window.get(offset) == Cell::Done).collect();
        assert_eq!(done, expected);
        assert!(window.done_ranges().windows(2).all(|pair| pair[0].end < pair[1].start));
    }

    #[test]
    fn gaps_and_jumps() {
        let mut window = Window::new(0);
        window.read_up_to(3_000);
        assert!(window.advance());
        assert_eq!(window.cursor(), 3_000);
        window.set_done(3_002);
        window.set_done(3_003);
        window.jump(3_002);
        assert_eq!(window.cursor(), 3_004);
        window.jump(1 << 40);
        assert_eq!((window.cursor(), window.next_read()), (1 << 40, 1 << 40));
        window.set_live((1 << 40) + 1, 9);
        assert_eq!(window.get((1 << 40) + 1), Cell::Live(9));
    }
}
