//! Certificates that change while the broker runs: new connections get the new ones, and those that are open go on.

use super::Tls;
use crate::node::Node;
use std::sync::Arc;

/// How often the files are looked at. They are small, and a certificate that is renewed has days left.
const LOOK_EVERY_MS: u64 = 3_000;

/// Looks at the files of all listeners until the broker stops.
pub(crate) async fn watch(node: Arc<Node>) {
    let all: Vec<Arc<Tls>> = node.listeners.tls().cloned().collect();
    if all.is_empty() {
        return;
    }
    loop {
        let next = node.world.clock.now().plus(LOOK_EVERY_MS);
        tokio::select! {
            biased;
            () = node.stopping.cancelled() => return,
            () = node.world.clock.sleep_until(next) => {}
        }
        let all = all.clone();
        let looked = tokio::task::spawn_blocking(move || all.iter().for_each(|tls| tls.look_again()));
        looked.await.expect("files are looked at without a panic");
    }
}

impl Tls {
    /// Takes up what changed. What cannot be served leaves everything as it is, and is told once.
    pub(super) fn look_again(&self) {
        let read = self.settings.read();
        let mut current = self.current.lock().expect("no panic while TLS is set");
        let made = match read {
            Ok(material) if material == current.material => {
                current.refused = None;
                return;
            }
            Ok(material) => {
                let config = self.settings.server_config(&material);
                config.map(|config| (config, material))
            }
            Err(error) => Err(error.into()),
        };
        match made {
            Ok((config, material)) => {
                tracing::info!(certificates = %material.chain.0.place(), "the certificates changed; new connections get the new ones");
                current.config = Arc::new(config);
                current.material = material;
                current.refused = None;
            }
            Err(error) => {
                let error = error.to_string();
                if current.refused.as_ref() != Some(&error) {
                    tracing::warn!(
                        "the changed certificates are not taken up, the former ones stay: {error}"
                    );
                    current.refused = Some(error);
                }
            }
        }
    }
}
