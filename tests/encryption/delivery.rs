//! Messages of Odoo's outbox for encrypted rooms: the worker's process sends them, and people read them with their own clients.

use std::{io::Read as _, time::Duration};

use fernet::Fernet;
use matrix_sdk_crypto::AttachmentDecryptor;
use serde_json::json;
use stack::{
    process::Process,
    synapse::{Options, Synapse, User},
    webhook::Webhook,
    world::{LogRow, World, kill},
};

use crate::{
    BINARY,
    people::{LENIENT, Reader, STRICT, assert_no_index_twice},
};

const SIGNED: &str = "SELECT EXISTS (SELECT FROM matrix_crypto WHERE state = 'ok' AND signature = 'signed')";

/// The lease of the office's workers.
pub(crate) const LEASE: Duration = Duration::from_secs(6);

/// A backend that encrypts, on a real homeserver.
pub(crate) struct Office {
    pub(crate) world: World,
    pub(crate) synapse: Synapse,
    pub(crate) bot: User,
    key: String,
}

impl Office {
    pub(crate) async fn open() -> Self {
        Self::on(World::new(BINARY).await).await
    }

    /// With a database, and a worker, of its own.
    pub(crate) async fn on(world: World) -> Self {
        Self::with(world, Options::default()).await
    }

    pub(crate) async fn with(world: World, options: Options) -> Self {
        let synapse = Synapse::start(Options { unlimited: true, ..options }).await.unwrap();
        let bot = synapse.register("odoo", "let me in", false).await.unwrap();
        let office = Self { world, synapse, bot, key: Fernet::generate_key() };
        office.use_token(&office.bot).await;
        office.world.client.batch_execute("UPDATE matrix_backend SET encryption_mode = 'encrypt'").await.unwrap();
        office
    }

    pub(crate) async fn use_token(&self, user: &User) {
        let sql = "UPDATE matrix_backend SET homeserver_url = $1, token_sealed = $2";
        let sealed = self.seal(user.token());
        self.world.client.execute(sql, &[&self.synapse.url(), &sealed]).await.unwrap();
    }

    pub(crate) fn seal(&self, secret: &str) -> String {
        format!("fernet:{}", Fernet::new(&self.key).unwrap().encrypt(secret.as_bytes()))
    }

    pub(crate) fn unseal(&self, sealed: &str) -> String {
        let token = sealed.strip_prefix("fernet:").unwrap();
        String::from_utf8(Fernet::new(&self.key).unwrap().decrypt(token).unwrap()).unwrap()
    }

    pub(crate) fn worker(&self, name: &str) -> Process {
        self.worker_with(name, &[])
    }

    pub(crate) fn worker_with(&self, name: &str, variables: &[(&str, &str)]) -> Process {
        let lease = LEASE.as_secs().to_string();
        let patient =
            [("MATRIX_TOKEN_KEY", &*self.key), ("HTTP_TIMEOUT_SECONDS", "2"), ("WORKER_LEASE_SECONDS", &lease)];
        self.world.worker_with(name, &[&patient, variables].concat())
    }

    /// What a command of the program that has the key writes.
    pub(crate) async fn command(&self, arguments: &[&str]) -> String {
        let mut command = self.world.launch.command(arguments);
        command.env("MATRIX_TOKEN_KEY", &self.key);
        let output = tokio::process::Command::from(command).output().await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) async fn person(&self, name: &str) -> User {
        self.synapse.register(name, "in", false).await.unwrap()
    }

    /// A room of `people`, of whom the first makes it and the others and the account are in it.
    pub(crate) async fn room(&self, people: &[&User]) -> String {
        let [first, others @ ..] = people else { panic!("nobody") };
        let invited: Vec<_> = others.iter().copied().chain([&self.bot]).collect();
        let room = first.create_room("Case", &invited).await.unwrap();
        for user in invited {
            user.join(&room).await.unwrap();
        }
        room
    }

    pub(crate) async fn encrypted_room(&self, people: &[&User]) -> String {
        let room = self.room(people).await;
        people[0].encrypt(&room).await.unwrap();
        room
    }

    pub(crate) async fn deliver(&self, room: &str, body: &str) -> LogRow {
        let id = self.world.enqueue(room, body).await;
        self.until_logged(id).await
    }

    pub(crate) async fn until_logged(&self, id: i64) -> LogRow {
        self.world.until(&format!("SELECT EXISTS (SELECT FROM matrix_log WHERE outbox_id = {id})")).await;
        self.world.log().await.into_iter().rfind(|row| row.outbox_id == id).unwrap()
    }
}

pub(crate) fn all(texts: &[&str]) -> Vec<Result<String, String>> {
    texts.iter().map(|text| Ok((*text).to_owned())).collect()
}

pub(crate) fn is_plain_ok(row: &LogRow) -> bool {
    row.status == "ok" && row.error_code.is_none()
}

#[tokio::test]
async fn everybody_in_the_room_reads_it_on_every_device_and_strict_clients_too() {
    let office = Office::open().await;
    let (anna, ben) = (office.person("anna").await, office.person("ben").await);
    let room = office.encrypted_room(&[&anna, &ben]).await;
    let mut phone = Reader::new(&office.synapse, &anna).await;
    let mut laptop = Reader::new(&office.synapse, &office.synapse.log_in(&anna, "in").await.unwrap()).await;
    let mut leaver = Reader::new(&office.synapse, &ben).await;
    let _worker = office.worker("w1");

    let (one, two) = (office.deliver(&room, "one").await, office.deliver(&room, "two").await);
    assert!(is_plain_ok(&one) && is_plain_ok(&two), "{one:?} {two:?}\n{}", office.world.worker_logs());
    for reader in [&mut phone, &mut laptop, &mut leaver] {
        assert_eq!(reader.read(&room, STRICT).await, all(&["one", "two"]), "{:?}", reader.user);
    }
    office.world.until(SIGNED).await;

    // Somebody leaves: as soon as the worker has heard of it, messages have another key. A person who joins reads from then on.
    let mut bodies = vec!["one".to_owned(), "two".to_owned()];
    let mut next = async || {
        let body = format!("{}", bodies.len() + 1);
        assert!(bodies.len() < 100, "the worker does not hear of changes");
        office.deliver(&room, &body).await;
        bodies.push(body.clone());
        body
    };
    ben.leave(&room).await.unwrap();
    let mut secret = next().await;
    while assert_no_index_twice(&anna, &room).await < 2 {
        secret = next().await;
    }
    anna.invite(&room, &ben).await.unwrap();
    ben.join(&room).await.unwrap();
    let read = loop {
        let body = next().await;
        let read: Vec<_> = leaver.read(&room, LENIENT).await.into_iter().map(Result::ok).collect();
        if read.last() == Some(&Some(body)) {
            break read;
        }
    };
    assert!(!read.contains(&Some(secret)), "{read:?}");

    // A new device reads from then on.
    let mut tablet = Reader::new(&office.synapse, &office.synapse.log_in(&anna, "in").await.unwrap()).await;
    while tablet.read(&room, LENIENT).await.last().unwrap().is_err() {
        next().await;
    }
    let wanted: Vec<_> = bodies.iter().map(|body| Ok(body.clone())).collect();
    assert_eq!(phone.read(&room, STRICT).await, wanted);

    // An edit is encrypted; only that it belongs to the other message can be seen.
    let txn: String =
        office.world.client.query_one("SELECT txn_id FROM matrix_log WHERE payload = 'one'", &[]).await.unwrap().get(0);
    office.world.client.batch_execute("UPDATE matrix_log SET res_model = 'test.ticket', res_id = 7").await.unwrap();
    let edit = "INSERT INTO matrix_outbox (backend_id, event_type, res_model, res_id, room_id, content, txn_id)
        SELECT id, 'manual', 'test.ticket', 7, $1, jsonb_build_object('msgtype', 'm.text', 'body', '* uno', 'org.odoo.changes', $2::text,
            'm.new_content', jsonb_build_object('msgtype', 'm.text', 'body', 'uno')), 'edit' FROM matrix_backend RETURNING id";
    let id = office.world.client.query_one(edit, &[&room, &txn]).await.unwrap().get(0);
    let edited = office.until_logged(id).await;
    assert!(is_plain_ok(&edited), "{edited:?}");
    assert_eq!(phone.read(&room, STRICT).await.last().unwrap().as_deref(), Ok("* uno"));
    let events = anna.timeline(&room).await.unwrap();
    let last = &events.last().unwrap().content;
    assert_eq!(last["m.relates_to"]["rel_type"], "m.replace");
    assert!(last.get("m.new_content").is_none() && last["ciphertext"].is_string(), "{last}");
}

#[tokio::test]
async fn a_room_is_encrypted_from_the_message_after_it_was_and_never_again_sent_to_in_clear() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.room(&[&anna]).await;
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let _worker = office.worker("w1");
    assert!(is_plain_ok(&office.deliver(&room, "in clear").await));

    anna.encrypt(&room).await.unwrap();
    assert!(is_plain_ok(&office.deliver(&room, "encrypted").await), "{}", office.world.worker_logs());
    let texts = reader.read(&room, STRICT).await;
    assert_eq!(texts, [Err("in clear: in clear".to_owned()), Ok("encrypted".to_owned())]);
    let stored = "SELECT EXISTS (SELECT FROM matrix_encrypted_room WHERE room_id = '";
    office.world.until(&format!("{stored}{room}')")).await;

    // Nobody can read what is sent to people without devices: it waits, and Logs says why.
    let carl = office.person("carl").await;
    let alone = office.encrypted_room(&[&carl]).await;
    let held = office.deliver(&alone, "secret").await;
    assert_eq!(
        (held.status.as_str(), held.is_final, held.error_code.as_deref()),
        ("failed", false, Some("org.odoo.no_key"))
    );
    assert!(held.error_message.as_ref().unwrap().contains(carl.id()), "{held:?}");
    // As soon as somebody can, it is sent.
    let mut late = Reader::new(&office.synapse, &carl).await;
    office.world.client.batch_execute("UPDATE matrix_lane SET retry_at = NULL; NOTIFY matrix_outbox").await.unwrap();
    office.world.until_empty().await;
    assert_eq!(late.read(&alone, STRICT).await, all(&["secret"]));

    // Devices that cannot get a key are named on the delivery.
    let dora = office.person("dora").await;
    carl.invite(&alone, &dora).await.unwrap();
    dora.join(&alone).await.unwrap();
    // The worker hears of it at any time from now on.
    let mut bodies = vec!["secret".to_owned()];
    let sent = loop {
        assert!(bodies.len() < 100, "the worker does not hear of changes");
        let sent = office.deliver(&alone, &format!("more {}", bodies.len())).await;
        bodies.push(sent.body.clone());
        if !is_plain_ok(&sent) {
            break sent;
        }
    };
    assert_eq!((sent.status.as_str(), sent.error_code.as_deref()), ("ok", Some("org.odoo.no_key")));
    assert_eq!(sent.error_message, Some(format!("delivered; not readable for {} (no device with keys)", dora.id())));
    assert_eq!(late.read(&alone, STRICT).await, bodies.into_iter().map(Ok).collect::<Vec<_>>());
}

#[tokio::test]
async fn files_are_encrypted_and_so_are_direct_rooms_that_are_made_for_it() {
    let office = Office::open().await;
    let (anna, ben) = (office.person("anna").await, office.person("ben").await);
    let odoo = Webhook::start().await.unwrap();
    let sql = "UPDATE matrix_backend SET files_url = $1, encrypt_new_rooms = true";
    office.world.client.execute(sql, &[&odoo.files_url()]).await.unwrap();
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let mut phone = Reader::new(&office.synapse, &ben).await;
    let room = office.encrypted_room(&[&anna]).await;
    let _worker = office.worker("w1");

    // Never an address without its key: it would be taken for that of a file that is not encrypted.
    let keyed = "ALTER TABLE matrix_upload ADD CHECK (file_sealed IS NOT NULL)";
    office.world.client.batch_execute(keyed).await.unwrap();
    let pdf = b"%PDF-1.4 \x00\xff not text";
    odoo.give("will.pdf", pdf);
    let content = json!({ "msgtype": "m.text", "body": "will.pdf", "info": { "mimetype": "application/pdf", "size": pdf.len() } });
    let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id, attachment_id)
        SELECT id, 'chatter', $1, $2, 'will.pdf', 7 FROM matrix_backend RETURNING id";
    let id = office.world.client.query_one(sql, &[&room, &content]).await.unwrap().get(0);
    let sent = office.until_logged(id).await;
    assert!(is_plain_ok(&sent), "{sent:?}");
    let content = reader.contents(&room, STRICT).await.pop().unwrap().unwrap();
    assert_eq!((content["msgtype"].as_str(), content.get("url")), (Some("m.file"), None));
    let address = content["file"]["url"].as_str().unwrap();
    let uploaded = anna.download(address).await.unwrap();
    assert_ne!(uploaded, pdf, "the homeserver has the ciphertext only");
    let info = serde_json::from_value(content["file"].clone()).unwrap();
    let mut plain = Vec::new();
    let mut ciphertext = uploaded.as_slice();
    AttachmentDecryptor::new(&mut ciphertext, info).unwrap().read_to_end(&mut plain).unwrap();
    assert_eq!(plain, pdf);
    let row = office
        .world
        .client
        .query_one("SELECT content_uri, is_uploaded, file_sealed FROM matrix_upload", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, String>(0).as_str(), row.get::<_, bool>(1)), (address, true));
    assert!(row.get::<_, String>(2).starts_with("fernet:"));

    // A direct room is encrypted from the start.
    let id = office.world.enqueue_direct(ben.id(), "only for you").await;
    let sent = office.until_logged(id).await;
    assert!(is_plain_ok(&sent), "{sent:?}");
    let [(direct, true)] = &ben.invitations().await.unwrap()[..] else { panic!("one direct room") };
    ben.join(direct).await.unwrap();
    assert_eq!(phone.read(direct, STRICT).await, all(&["only for you"]));

    // The room is gone: the next one is encrypted as well, whatever new rooms are otherwise.
    office.world.client.batch_execute("UPDATE matrix_backend SET encrypt_new_rooms = false").await.unwrap();
    office.bot.leave(direct).await.unwrap();
    let id = office.world.enqueue_direct(ben.id(), "still only for you").await;
    let sent = office.until_logged(id).await;
    assert!(is_plain_ok(&sent), "{sent:?}");
    let [(next, true)] = &ben.invitations().await.unwrap()[..] else { panic!("one direct room") };
    assert_ne!(next, direct);
    ben.join(next).await.unwrap();
    assert_eq!(phone.read(next, STRICT).await, all(&["still only for you"]));
}

#[tokio::test]
async fn whichever_worker_dies_every_message_is_read_once_and_in_order() {
    let (rooms, rounds, lives) = if std::env::var("SOAK").is_ok() { (30, 30, 25) } else { (4, 6, 3) };
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let mut names = Vec::new();
    for number in 0..rooms {
        // One room in four is not encrypted.
        names.push(if number % 4 == 3 { office.room(&[&anna]).await } else { office.encrypted_room(&[&anna]).await });
    }
    let rooms: Vec<_> = names.iter().map(String::as_str).collect();
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let _other = office.worker("other");
    let mut ids = Vec::new();

    for life in 0..lives {
        let worker = office.worker("victim");
        let before = ids.len() as i64;
        ids.extend(office.world.enqueue_many(&rooms, &format!("life {life}"), rounds).await);
        let sent = before + random.i64(1..=(ids.len() as i64 - before));
        office.world.until(&format!("SELECT count(*) >= {sent} FROM matrix_log WHERE status = 'ok'")).await;
        kill(&worker).await;
    }
    office.world.until_empty().await;

    let wanted: Vec<_> =
        (0..lives).flat_map(|life| (1..=rounds).map(move |round| format!("life {life} {round}"))).collect();
    for (number, room) in names.iter().enumerate() {
        let read = reader.read(room, STRICT).await;
        let plain = |text: &String| Err(format!("in clear: {text}"));
        let wanted: Vec<_> =
            wanted.iter().map(|text| if number % 4 == 3 { plain(text) } else { Ok(text.clone()) }).collect();
        assert_eq!(read, wanted, "{room}, seed {seed}\n{}", office.world.worker_logs());
        assert_no_index_twice(&anna, room).await;
    }
    let log = office.world.log().await;
    let sent: std::collections::HashSet<_> = log.iter().filter(|row| row.is_final).map(|row| row.outbox_id).collect();
    assert!(sent.len() == ids.len() && log.iter().all(|row| row.status == "ok" || !row.is_final), "seed {seed}");
}
