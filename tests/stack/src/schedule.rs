//! Which tests run side by side. A test that measures time runs alone, or it would measure its neighbours.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURN: RwLock<()> = RwLock::const_new(());

/// For a test that measures nothing: it may wait for a lease or a connection to end while others do.
pub async fn beside() -> RwLockReadGuard<'static, ()> {
    TURN.read().await
}

/// For a test that measures time: it has the machine to itself.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().await
}
