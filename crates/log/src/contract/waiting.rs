//! Tickets, high watermarks and wake-ups.

use super::{Home, WakeCount, batch, block_on, durable, fill, partition};
use crate::{Durability, Isolation, ReadLimit, Ticket};
use keyway_record::Offset;
use std::task::{Context, Poll};

/// Readers see what is durable; once an append was waited for, they see it.
pub fn only_durable_records_are_readable(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    for count in 1..100 {
        let appended = log.append(&batch(1, 50, 5)).unwrap();
        let slice = log.read(Offset(0), ReadLimit::bytes(1 << 20)).unwrap();
        let bounds = log.bounds();
        assert!(slice.next <= bounds.high_watermark && bounds.high_watermark <= bounds.end);
        assert_eq!(bounds.end, Offset(count));
        if count % 3 == 0 {
            block_on(store.wait(appended.ticket, Durability::Written)).unwrap();
        }
        if count % 5 == 0 {
            durable(store.as_ref(), appended.ticket);
            assert_eq!(log.bounds().high_watermark, Offset(count));
        }
    }
}

/// Tickets ascend over all partitions, and the greatest one covers them all.
pub fn tickets_cover_all_partitions(home: &Home) {
    let store = home();
    let logs: Vec<_> = (0..10).map(|index| store.create(&partition(&format!("t{index}"))).unwrap()).collect();
    let mut last = Ticket::default();
    for index in 0..100 {
        let ticket = logs[index * 7 % 10].append(&batch(1, 10, 5)).unwrap().ticket;
        assert!(ticket > last);
        last = ticket;
    }
    durable(store.as_ref(), last);
    for log in logs {
        assert_eq!(log.bounds().high_watermark, Offset(10));
        assert_eq!(log.bounds().end, Offset(10));
    }
}

/// Who waits for what is there already is not made to wait.
pub fn a_reached_ticket_is_ready_at_once(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let ticket = log.append(&batch(1, 10, 5)).unwrap().ticket;
    durable(store.as_ref(), ticket);
    let (count, waker) = WakeCount::new();
    for durability in [Durability::Written, Durability::Durable] {
        let mut wait = store.wait(ticket, durability);
        let ready = wait.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(matches!(ready, Poll::Ready(Ok(()))));
    }
    assert_eq!(count.wakes(), 0);
}

/// A waiter is woken when its record becomes readable: once, and not for others.
pub fn waiting_past_an_offset_wakes_once(home: &Home) {
    let store = home();
    let (log, other) = (store.create(&partition("a")).unwrap(), store.create(&partition("b")).unwrap());
    fill(store.as_ref(), log.as_ref(), [1]);
    block_on(log.wait_past(Offset(0), Isolation::ReadUncommitted));
    let (count, waker) = WakeCount::new();
    let mut context = Context::from_waker(&waker);
    let mut second = log.wait_past(Offset(1), Isolation::ReadUncommitted);
    let mut third = log.wait_past(Offset(2), Isolation::ReadUncommitted);
    let mut dropped = log.wait_past(Offset(1), Isolation::ReadUncommitted);
    for _ in 0..3 {
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
    }
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    drop(dropped);
    fill(store.as_ref(), other.as_ref(), [1, 2, 3]);
    assert_eq!(count.wakes(), 0);
    fill(store.as_ref(), log.as_ref(), [2]);
    assert_eq!(count.wakes(), 1);
    assert!(second.as_mut().poll(&mut context).is_ready());
    assert!(third.as_mut().poll(&mut context).is_pending());
    fill(store.as_ref(), log.as_ref(), [3]);
    assert_eq!(count.wakes(), 2);
    assert!(third.as_mut().poll(&mut context).is_ready());
}

/// Deletion and closing leave nobody waiting.
pub fn waiting_past_an_offset_ends_with_the_log(home: &Home) {
    let store = home();
    let (kept, deleted) =
        (store.create(&partition("kept")).unwrap(), store.create(&partition("gone")).unwrap());
    let (count, waker) = WakeCount::new();
    let mut context = Context::from_waker(&waker);
    let (mut on_kept, mut on_deleted) = (
        kept.wait_past(Offset(0), Isolation::ReadUncommitted),
        deleted.wait_past(Offset(9), Isolation::ReadUncommitted),
    );
    assert!(on_kept.as_mut().poll(&mut context).is_pending());
    assert!(on_deleted.as_mut().poll(&mut context).is_pending());
    store.delete(&partition("gone")).unwrap();
    assert_eq!(count.wakes(), 1);
    assert!(on_deleted.as_mut().poll(&mut context).is_ready());
    assert!(on_kept.as_mut().poll(&mut context).is_pending());
    store.close().unwrap();
    assert_eq!(count.wakes(), 2);
    assert!(on_kept.as_mut().poll(&mut context).is_ready());
    block_on(kept.wait_past(Offset(0), Isolation::ReadUncommitted));
}
