//! What became of every offset between the cursor and the end of what was read.
//!
//! Pages of 1,024 offsets, 4 bytes each: the offset's entry, or that it is done, or that it was not read yet. A page goes
//! back when the cursor has passed it.

use crate::slab::NIL;
use std::collections::VecDeque;

const PAGE: i64 = 1_024;
const UNREAD: u32 = NIL;
const DONE: u32 = NIL - 1;
/// Pages kept for reuse: as many as a busy cursor passes in one step.
const SPARE_MAX: usize = 8;

/// State of one offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cell {
    /// Not read yet.
    Unread,
    /// Gap, acked, skipped, written elsewhere or lost.
    Done,
    /// The message's entry.
    Live(u32),
}

type Page = Box<[u32; PAGE as usize]>;

#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// First offset of the first page.
    base: i64,
    pages: VecDeque<Page>,
    spare: Vec<Page>,
    cursor: i64,
    next_read: i64,
}

impl Window {
    pub(crate) fn new(start: i64) -> Self {
        let base = start - start % PAGE;
        Self { base, pages: VecDeque::new(), spare: Vec::new(), cursor: start, next_read: start }
    }

    /// The lowest offset that is not done.
    pub(crate) fn cursor(&self) -> i64 {
        self.cursor
    }

    /// The offset to read next.
    pub(crate) fn next_read(&self) -> i64 {
        self.next_read
    }

    /// Offsets between the cursor and the end of what was read.
    pub(crate) fn span(&self) -> i64 {
        self.next_read - self.cursor
    }

    /// The end of what the pages say anything about.
    pub(crate) fn end(&self) -> i64 {
        (self.base + self.pages.len() as i64 * PAGE).max(self.next_read)
    }

    pub(crate) fn get(&self, offset: i64) -> Cell {
        if offset < self.cursor {
            return Cell::Done;
        }
        let at = offset - self.base;
        match self.pages.get((at / PAGE) as usize).map(|page| page[(at % PAGE) as usize]) {
            None | Some(UNREAD) => Cell::Unread,
            Some(DONE) => Cell::Done,
            Some(entry) => Cell::Live(entry),
        }
    }

    fn set(&mut self, offset: i64, value: u32) {
        assert!(offset >= self.cursor, "an offset below the cursor is done");
        let at = offset - self.base;
        let index = (at / PAGE) as usize;
        while index >= self.pages.len() {
            let mut page = self.spare.pop().unwrap_or_else(|| Box::new([UNREAD; PAGE as usize]));
            page.fill(UNREAD);
            self.pages.push_back(page);
        }
        self.pages[index][(at % PAGE) as usize] = value;
    }

    pub(crate) fn set_live(&mut self, offset: i64, entry: u32) {
        assert!(entry < DONE);
        self.set(offset, entry);
    }

    pub(crate) fn set_done(&mut self, offset: i64) {
        self.set(offset, DONE);
    }

    /// Everything from `next_read` to `to` that has no entry is done.
    pub(crate) fn read_up_to(&mut self, to: i64) {
        for offset in self.next_read..to {
            if self.get(offset) == Cell::Unread {
                self.set(offset, DONE);
            }
        }
        self.next_read = self.next_read.max(to);
    }

    /// The record at `next_read` now has an entry (or was done before).
    pub(crate) fn read_one(&mut self) {
        self.next_read += 1;
    }

    /// Steps over offsets that a former owner completed. Needs [`Self::advance`] first.
    pub(crate) fn skip_done(&mut self) {
        self.next_read = self.next_read.max(self.cursor);
        while self.next_read < self.end() && self.get(self.next_read) == Cell::Done {
            self.next_read += 1;
        }
    }

    /// Moves the cursor over what is done; whether it moved.
    pub(crate) fn advance(&mut self) -> bool {
        let before = self.cursor;
        while let Some(page) = self.pages.front() {
            let at = (self.cursor - self.base) as usize;
            let done = page[at..].iter().take_while(|&&cell| cell == DONE).count();
            self.cursor += done as i64;
            if self.cursor - self.base < PAGE {
                break;
            }
            self.base += PAGE;
            let page = self.pages.pop_front().expect("the front page was just looked at");
            if self.spare.len() < SPARE_MAX {
                self.spare.push(page);
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
        if to >= self.base + self.pages.len() as i64 * PAGE {
            self.pages.clear();
            self.base = to - to % PAGE;
            self.cursor = to;
            self.next_read = to;
        } else {
            self.read_up_to(to);
            self.advance();
        }
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
