//! The addons over the life of a database: updated, neutralized, uninstalled and installed again.
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use stack::odoo::{Client, Odoo, Site, fernet_key};
use stack::office::ADMIN_PASSWORD;
use stack::postgres::{self, Database};
use stack::worker::Launch;

const TOKEN: &str = "syt_life_cycle_token";

async fn site() -> Site {
    let odoo = Arc::new(Odoo::install().await.unwrap());
    Site::with(&odoo, postgres::shared().await, &["legal_case_matrix".to_owned()]).await.unwrap()
}

/// A backend, and a case with one event that was sent and one that waits.
async fn work(site: &Site) {
    let server = site.serve().await.unwrap();
    let admin = server.login("admin", ADMIN_PASSWORD).await.unwrap();
    let backend = json!({"name": "Office", "homeserver_url": "https://matrix.example.org", "personal_access_token": TOKEN, "company_id": false});
    let backend = admin.create("matrix.backend", backend).await.unwrap();
    let case = new_case(&admin, "Doe against Acme").await;
    let sent = "INSERT INTO matrix_log (status, backend_id, res_model, res_id, payload, txn_id) \
                VALUES ('ok', $1, 'legal.case', $2, 'Sent', 'life-cycle-1')";
    let ids: [i32; 2] = [backend, case].map(|id| i32::try_from(id).unwrap());
    site.database().connect().await.unwrap().execute(sent, &[&ids[0], &ids[1]]).await.unwrap();
}

async fn new_case(admin: &Client, name: &str) -> i64 {
    let client = admin.create("res.partner", json!({"name": "Jane Doe"})).await.unwrap();
    let case = json!({"name": name, "partner_id": client, "matrix_room_id": "!case:example.org"});
    admin.create("legal.case", case).await.unwrap()
}

async fn count(database: &Database, query: &str) -> i64 {
    database.connect().await.unwrap().query_one(query, &[]).await.unwrap().get(0)
}

/// Messages that wait, deliveries that know their case, backends that can send.
async fn kept(database: &Database) -> [i64; 3] {
    [
        count(database, "SELECT count(*) FROM matrix_outbox").await,
        count(database, "SELECT count(*) FROM matrix_log WHERE case_id IS NOT NULL").await,
        count(database, "SELECT count(*) FROM matrix_backend WHERE is_active AND token_sealed LIKE 'fernet:%'").await,
    ]
}

#[tokio::test]
async fn an_update_keeps_messages_tokens_and_the_rights_of_the_worker() {
    let mut site = site().await;
    work(&site).await;
    let worker =
        Launch::prepare(Path::new(env!("CARGO_BIN_EXE_odoo-matrix-worker")), site.database_mut()).await.unwrap();
    assert_eq!(kept(site.database()).await, [1, 1, 1]);

    site.update(&["mail_matrix", "legal_case_matrix"]).await.unwrap();

    assert_eq!(kept(site.database()).await, [1, 1, 1]);
    let role = worker.role();
    for (table, right) in
        [("matrix_outbox", "DELETE"), ("matrix_log", "INSERT"), ("matrix_lane", "UPDATE"), ("matrix_backend", "SELECT")]
    {
        let granted = format!("SELECT has_table_privilege('{role}', '{table}', '{right}')::int::bigint");
        assert_eq!(count(site.database(), &granted).await, 1, "{right} on {table}");
    }
}

/// Each transaction of an update waits at its end, with all that it has locked, until the test lets it go.
const HOLD: &str = "
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(1, 2); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER hold AFTER UPDATE ON ir_module_module DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION hold();
    SELECT pg_advisory_lock(1, 2)";

/// Tables that a held update has locked against writing, or reading.
const LOCKED: &str = "
    SELECT array_agg(l.relation::regclass || ' ' || l.mode) FROM pg_locks AS held JOIN pg_locks AS l USING (pid)
    WHERE held.locktype = 'advisory' AND (held.classid, held.objid) = (1, 2) AND NOT held.granted AND l.locktype = 'relation'
        AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')";
const HELD: &str = "
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND (classid, objid) = (1, 2) AND NOT granted";

/// An update lasts minutes on a large database. It must not lock what it does not change.
#[tokio::test]
async fn users_work_while_an_update_that_changes_nothing_is_held_open() {
    let site = site().await;
    work(&site).await;
    let server = site.serve().await.unwrap();
    let admin = server.login("admin", ADMIN_PASSWORD).await.unwrap();
    let case = new_case(&admin, "Roe against Acme").await;
    let holder = site.database().connect().await.unwrap();
    holder.batch_execute(HOLD).await.unwrap();
    let mut held = 0;

    let update = async { site.update(&["mail_matrix", "legal_case_matrix"]).await.unwrap() };
    let users = async {
        loop {
            while count(site.database(), HELD).await == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let locked: Option<Vec<String>> = holder.query_one(LOCKED, &[]).await.unwrap().get(0);
            assert_eq!(locked, None);
            let saves = async {
                admin.write("legal.case", case, json!({"name": format!("Saved {held}")})).await.unwrap();
                admin.write("legal.case", case, json!({"matrix_message": "Hello"})).await.unwrap();
                admin.press("legal.case", case, "action_matrix_send_message").await.unwrap();
                new_case(&admin, "New").await;
            };
            tokio::time::timeout(Duration::from_secs(10), saves).await.expect("a save waits for the update");
            held += 1;
            holder.batch_execute("SELECT pg_advisory_unlock(1, 2); SELECT pg_advisory_lock(1, 2)").await.unwrap();
        }
    };
    tokio::select! { () = update => {}, () = users => {} }

    assert!(held >= 2, "the update was held {held} times");
}

#[tokio::test]
async fn a_new_key_seals_the_tokens_again_and_the_old_one_can_go() {
    let site = site().await;
    work(&site).await;
    let (old, new) = (site.token_key(), fernet_key());

    site.rotate_token_key(&format!("{new},{old}")).await.unwrap();

    let refused = site.rotate_token_key(old).await.unwrap_err();
    assert!(format!("{refused:#}").contains("encrypted with another key"), "{refused:#}");
    site.rotate_token_key(&new).await.unwrap();
    assert_eq!(kept(site.database()).await, [1, 1, 1]);
}

#[tokio::test]
async fn a_neutralized_copy_has_no_token_and_sends_nothing() {
    let site = site().await;
    work(&site).await;

    site.neutralize().await.unwrap();

    assert_eq!(kept(site.database()).await, [0, 1, 0]);
    let usable = "SELECT count(*) FROM matrix_backend WHERE is_active OR token_sealed IS NOT NULL";
    assert_eq!(count(site.database(), usable).await, 0);
}

#[tokio::test]
async fn uninstalling_leaves_the_cases_and_installing_again_works_on_them() {
    let site = site().await;
    work(&site).await;

    {
        let server = site.serve().await.unwrap();
        let admin = server.login("admin", ADMIN_PASSWORD).await.unwrap();
        let addon =
            admin.search_read("ir.module.module", json!([["name", "=", "mail_matrix"]]), &["id"], "id").await.unwrap();
        admin.press("ir.module.module", addon[0]["id"].as_i64().unwrap(), "button_immediate_uninstall").await.unwrap();
    }

    let left = "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'matrix%') \
                     + (SELECT count(*) FROM pg_proc WHERE proname LIKE '%matrix%') \
                     + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%matrix%') \
                     + (SELECT count(*) FROM information_schema.columns WHERE column_name LIKE 'matrix%') \
                     + (SELECT count(*) FROM res_groups WHERE name::text LIKE '%Matrix%')";
    assert_eq!(count(site.database(), left).await, 0);
    assert_eq!(count(site.database(), "SELECT count(*) FROM legal_case").await, 1);
    site.install(&["legal_case_matrix".to_owned()]).await.unwrap();
    work(&site).await;
    assert_eq!(kept(site.database()).await, [1, 1, 1]);
    assert_eq!(count(site.database(), "SELECT count(*) FROM legal_case").await, 2);
}
