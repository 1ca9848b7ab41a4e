//! The worker that has the keys dies at any step while it writes in several rooms, or comes back late, and another one continues.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use stack::synapse::{Options, Synapse, User};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::{
    account::Account,
    people::{Bot, LENIENT, Reader, assert_no_index_twice},
};

/// How many texts of each room were written, as far as that was recorded.
#[derive(Clone)]
struct Progress(Arc<Mutex<HashMap<String, usize>>>, watch::Sender<usize>);

impl Progress {
    fn of(&self, room: &str) -> usize {
        self.0.lock().unwrap().get(room).copied().unwrap_or_default()
    }

    fn written(&self, room: &str, number: usize) {
        let mut rooms = self.0.lock().unwrap();
        let count = rooms.entry(room.to_owned()).or_default();
        *count = number.max(*count);
        self.1.send_replace(rooms.values().sum());
    }
}

/// One worker, from taking the keys to its end: it writes the texts that are not written yet, in all rooms at once, each in order.
async fn live(
    account: Arc<Account>,
    synapse: Arc<Synapse>,
    user: User,
    name: String,
    rooms: Vec<String>,
    goal: usize,
    progress: Progress,
) {
    let store = account.store(&name);
    let following = account.follow(&store).await;
    // A worker that comes too late has no keys.
    let Ok(bot) = Bot::open(&account, &store, &following, &synapse, &user).await else { return };
    let bot = Arc::new(bot);
    let mut lanes = JoinSet::new();
    for room in rooms {
        let (bot, progress) = (bot.clone(), progress.clone());
        lanes.spawn(async move {
            for number in progress.of(&room)..goal {
                let name = format!("{room}/{number}");
                if bot.write(&room, &number.to_string(), &name).await.is_err() {
                    return;
                }
                progress.written(&room, number + 1);
            }
        });
    }
    lanes.join_all().await;
}

#[tokio::test]
async fn whenever_its_holder_dies_every_text_is_readable_once_in_order_and_no_key_stream_is_used_twice() {
    let (rooms, texts) = if std::env::var("SOAK").is_ok() { (30, 40) } else { (3, 5) };
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let synapse = Arc::new(Synapse::start(Options { unlimited: true, ..Options::default() }).await.unwrap());
    let user = synapse.register("odoo", "let me in", false).await.unwrap();
    let anna = synapse.register("anna", "in", false).await.unwrap();
    let mut reader = Reader::new(&synapse, &anna).await;
    let mut names = Vec::new();
    for number in 0..rooms {
        let room = anna.create_room(&format!("Case {number}"), &[&user]).await.unwrap();
        anna.encrypt(&room).await.unwrap();
        user.join(&room).await.unwrap();
        names.push(room);
    }
    let account = Arc::new(Account::new().await);
    let progress = Progress(Arc::default(), watch::Sender::new(0));
    let mut written = progress.1.subscribe();
    let mut late: Vec<JoinHandle<()>> = Vec::new();

    let mut lives = 0;
    while *written.borrow() < rooms * texts || lives < 4 {
        lives += 1;
        assert!(lives < 50 * rooms, "nobody comes to an end, seed {seed}");
        let next = *written.borrow() + random.usize(1..=rooms * 2);
        let life = live(
            account.clone(),
            synapse.clone(),
            user.clone(),
            format!("w{lives}"),
            names.clone(),
            texts,
            progress.clone(),
        );
        let mut life = tokio::spawn(life);
        // It dies some steps after it has written this many texts, or at the end; the first worker dies while it starts.
        let ends = async {
            if lives > 1 {
                written.wait_for(|count| *count >= next).await.unwrap();
            }
            sleep(Duration::from_micros(random.u64(0..40_000))).await;
        };
        let has_ended = tokio::select! {
            () = ends => false,
            ended = &mut life => {
                ended.unwrap();
                true
            }
        };
        if random.bool() {
            life.abort();
        } else if !has_ended {
            late.push(life);
        }
    }
    for life in late {
        life.await.unwrap();
    }

    let wanted: Vec<_> = (0..texts).map(|number| Ok(number.to_string())).collect();
    for room in &names {
        assert_eq!(reader.read(room, LENIENT).await, wanted, "{room} after {lives} lives, seed {seed}");
        assert_no_index_twice(&anna, room).await;
    }
}
