//! Waiting for what a double has seen.

use std::time::Duration;

use tokio::{sync::Notify, time::timeout};

/// Waits until `seen` is true; checks again at each notification of `changed`. False after a minute.
pub(crate) async fn until(changed: &Notify, seen: impl Fn() -> bool) -> bool {
    let waiting = async {
        loop {
            let next = changed.notified();
            tokio::pin!(next);
            next.as_mut().enable();
            if seen() {
                return;
            }
            next.await;
        }
    };
    timeout(Duration::from_secs(60), waiting).await.is_ok()
}
