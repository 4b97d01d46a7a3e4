//! A consumer's stream of messages. It never ends well: a clean end makes Go's client stop for good.

use super::{standing::Standing, throttle::Account};
use crate::subscription::{Item, StreamEnd, Subscription};
use futures_util::Stream;
use keyway_danube_wire::proto::StreamMessage;
use keyway_dispatch::{ConsumerId, Token};
use keyway_record::Offset;
use keyway_runtime::{BoxFuture, Clock, Millis};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::sync::mpsc;
use tonic::Status;

/// How long a stream that was taken over stays open. Two clients of one name that live at the same time would otherwise
/// take the stream from each other without a pause, for some clients open it again at once.
const TAKEOVER_PAUSE_MS: u64 = 1_000;

/// What a client reads its messages from.
pub(super) struct DeliveryStream {
    items: mpsc::Receiver<Item>,
    subscription: Arc<Subscription>,
    stream: ConsumerId,
    clock: Arc<dyn Clock>,
    account: Account,
    /// `None` where it cannot change.
    standing: Option<Standing>,
    /// What was delivered last has to be waited for.
    pause: Option<BoxFuture<'static, ()>>,
    ending: Ending,
}

enum Ending {
    Not,
    After(BoxFuture<'static, ()>, Option<Status>),
    Ended,
}

impl DeliveryStream {
    pub(super) fn new(
        items: mpsc::Receiver<Item>,
        subscription: Arc<Subscription>,
        stream: ConsumerId,
        clock: Arc<dyn Clock>,
        account: Account,
        standing: Option<Standing>,
    ) -> Self {
        Self { items, subscription, stream, clock, account, standing, pause: None, ending: Ending::Not }
    }

    /// A message of a topic that promises nothing is done as soon as it is on its way.
    fn acknowledge(&self, message: &StreamMessage) {
        if !self.subscription.reliable
            && let Some(id) = &message.msg_id
        {
            let offset = Offset(i64::try_from(id.topic_offset).expect("it was an offset"));
            self.subscription.ack_soon(offset, Token::from_raw(message.request_id));
        }
    }

    fn end(&mut self, end: Option<StreamEnd>) {
        let (pause_ms, status) = match end {
            None => (0, Status::unavailable("the stream ends; open it again")),
            Some(StreamEnd::TakenOver) => {
                (TAKEOVER_PAUSE_MS, Status::unavailable(StreamEnd::TakenOver.to_string()))
            }
            Some(StreamEnd::Refused(refusal)) => (0, refused(refusal)),
            // Not the end that makes clients open the stream again: some would do so for ever, without a word.
            Some(StreamEnd::Deleted) => (0, Status::not_found(StreamEnd::Deleted.to_string())),
        };
        let until = Millis(self.clock.now().0 + pause_ms);
        let pause: BoxFuture<'static, ()> =
            if pause_ms == 0 { Box::pin(std::future::ready(())) } else { self.clock.sleep_until(until) };
        self.ending = Ending::After(pause, Some(status));
    }
}

fn refused(refusal: keyway_dispatch::Refusal) -> Status {
    match refusal {
        keyway_dispatch::Refusal::Exclusive { .. } => Status::permission_denied(refusal.to_string()),
        _ => Status::resource_exhausted(refusal.to_string()),
    }
}

impl Stream for DeliveryStream {
    type Item = Result<StreamMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(standing) = &mut self.standing
            && let Poll::Ready(status) = standing.poll_end(context)
        {
            self.standing = None;
            self.pause = None;
            self.ending = Ending::After(Box::pin(std::future::ready(())), Some(status));
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        loop {
            match &mut self.ending {
                Ending::Not => match ready!(self.items.poll_recv(context)) {
                    Some(Ok(message)) => {
                        self.acknowledge(&message);
                        self.pause = self.account.pause(message.payload.len());
                        return Poll::Ready(Some(Ok(message)));
                    }
                    Some(Err(end)) => self.end(Some(end)),
                    None => self.end(None),
                },
                Ending::After(pause, status) => {
                    ready!(pause.as_mut().poll(context));
                    let status = status.take().expect("a stream ends once");
                    self.ending = Ending::Ended;
                    return Poll::Ready(Some(Err(status)));
                }
                Ending::Ended => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for DeliveryStream {
    fn drop(&mut self) {
        self.subscription.close_soon(self.stream);
    }
}
