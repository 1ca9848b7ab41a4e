//! A database with an account that a worker follows.

use std::time::Duration;

use fernet::Fernet;
use odoo_matrix_worker::{
    crypto::KeyStore,
    message::UserId,
    metrics::Metrics,
    seal::Keys,
    store::{Following, KeysFound, Store},
};
use stack::world::World;

use crate::BINARY;

const LEASE: Duration = Duration::from_secs(30);
pub(crate) const BOT: &str = "@bot:double.test";
pub(crate) const DEVICE: &str = "ODOO";

pub(crate) struct Account {
    pub(crate) world: World,
    pub(crate) keys: Keys,
}

impl Account {
    pub(crate) async fn new() -> Self {
        let world = World::new(BINARY).await;
        let keys = Keys::parse(&Fernet::generate_key()).unwrap();
        Self { world, keys }
    }

    /// A worker's access to the database.
    pub(crate) fn store(&self, name: &str) -> Store {
        Store::new(&self.world.launch.url(), name, LEASE, Metrics::default()).unwrap()
    }

    /// Makes the worker with this `name` the one that follows the account, whoever did before.
    pub(crate) async fn follow(&self, store: &Store) -> Following {
        let free = "UPDATE matrix_backend SET inbound_mode = 'follow'; UPDATE matrix_follower SET lease_until = NULL";
        loop {
            self.world.client.batch_execute(free).await.unwrap();
            let (rows, _) = store.follow(true).await.unwrap();
            // Another worker may take it in between.
            if let Some(following) = rows.into_iter().find_map(|(_, following)| following) {
                return following;
            }
        }
    }

    pub(crate) async fn take(&self, store: &Store) -> KeysFound {
        let following = self.follow(store).await;
        store.take_keys(&following, &UserId::parse(BOT).unwrap(), DEVICE).await.unwrap().unwrap()
    }

    /// The keys, taken and read by the worker with this `name`.
    pub(crate) async fn open(&self, name: &str) -> KeyStore {
        let store = self.store(name);
        let found = self.take(&store).await;
        assert_eq!(found.doubt, None);
        KeyStore::open(store, self.keys.clone(), found.taken).await.unwrap()
    }
}
