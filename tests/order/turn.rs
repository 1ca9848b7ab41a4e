//! Who runs beside whom: what is timed runs alone, or it would measure its neighbours.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURN: RwLock<()> = RwLock::const_new(());

/// For a test that measures nothing.
pub(crate) async fn beside() -> RwLockReadGuard<'static, ()> {
    TURN.read().await
}

/// For a test that measures time.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().await
}
