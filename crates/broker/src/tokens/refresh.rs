//! Keys that change while the broker runs. What cannot be read leaves the former keys in place, and is told once.

use super::{
    Tokens,
    key_set::KeySet,
    source::{self, Source},
};
use crate::node::Node;
use keyway_runtime::{Millis, World};
use std::sync::Arc;

/// How often a file is looked at.
const LOOK_EVERY_MS: u64 = 3_000;

/// Least time between two fetches that tokens with unknown keys ask for: anybody can send such tokens.
const ASKED_EVERY_MS: u64 = 10_000;

/// Keeps the keys of all listeners fresh until the broker stops.
pub(crate) async fn watch(node: Arc<Node>) {
    let all = node.listeners.tokens().map(|tokens| tokens.clone().keep_fresh(&node));
    futures_util::future::join_all(all).await;
}

impl Tokens {
    async fn keep_fresh(self: Arc<Self>, node: &Node) {
        let fresh = async {
            match &self.settings.source {
                Source::File(_) => self.look_again(&node.world).await,
                Source::Url(_) => self.fetch_again(&node.world).await,
            }
        };
        tokio::select! {
            biased;
            () = node.stopping.cancelled() => {}
            () = fresh => {}
        }
    }

    async fn look_again(self: &Arc<Self>, world: &World) {
        loop {
            sleep(world, LOOK_EVERY_MS).await;
            let tokens = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let Source::File(path) = &tokens.settings.source else { unreachable!("it is a file") };
                source::read_file(path)
            });
            let read = looked.await.expect("files are looked at without a panic");
            self.take(read.map_err(|error| error.to_string()));
        }
    }

    pub(super) async fn fetch_again(&self, world: &World) {
        let Source::Url(fetcher) = &self.settings.source else { unreachable!("it is a URL") };
        let mut retry_ms = *self.settings.retry_ms.start();
        loop {
            let fetched = fetcher.fetch(&*world.network).await;
            let fetched = fetched.map_err(|error| format!("{}: {error}", fetcher.url()));
            let wait_ms = match fetched {
                Ok(_) => {
                    retry_ms = *self.settings.retry_ms.start();
                    self.settings.refresh_ms
                }
                Err(_) => {
                    let now_ms = retry_ms;
                    retry_ms = retry_ms.saturating_mul(2).min(*self.settings.retry_ms.end());
                    now_ms
                }
            };
            self.take(fetched);
            let soonest = world.clock.now().plus(ASKED_EVERY_MS.min(wait_ms));
            tokio::select! {
                biased;
                () = sleep(world, wait_ms) => {}
                () = self.wanted.notified() => world.clock.sleep_until(soonest).await,
            }
        }
    }

    /// Takes up keys that have changed.
    fn take(&self, read: Result<KeySet, String>) {
        let place = self.settings.source.place();
        let mut refused = self.refused.lock().expect("no panic while keys are set");
        match read {
            Ok(set) => {
                *refused = None;
                let mut keys = self.keys.write().expect("no panic while keys are set");
                if set.text != keys.text {
                    tracing::info!(%place, keys = set.keys.len(), ignored = ?set.ignored, "tokens are checked by new keys");
                    *keys = Arc::new(set);
                }
            }
            Err(error) => {
                if refused.as_ref() != Some(&error) {
                    tracing::warn!(%place, "the keys of tokens cannot be read, the former ones stay: {error}");
                    *refused = Some(error);
                }
            }
        }
    }
}

async fn sleep(world: &World, ms: u64) {
    let until: Millis = world.clock.now().plus(ms);
    world.clock.sleep_until(until).await;
}
