//! The homeserver sends what people write, as to an application service.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use serde_json::json;
use stack::{files, relay::Relay};

use crate::common::{bodies, notes, open_office, send_to_odoo, text, until};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_is_written_in_the_room_appears_in_the_chatter_once_and_soon() {
    let (mut office, case) = open_office().await;
    let relay = Relay::start(office.server.url()).await.unwrap();
    send_to_odoo(&mut office.synapse, &office.admin, office.backend, &relay.url()).await;
    let caretaker = office.synapse.register("caretaker", "let me in", true).await.unwrap();
    office.synapse.exempt(&caretaker, &office.lawyer).await.unwrap();
    let lawyer = json!([["login", "=", "admin"]]);
    let admin = office.admin.search_read("res.users", lawyer, &["partner_id"], "id").await.unwrap();
    let user = admin[0]["id"].as_i64().unwrap();
    office.admin.write("res.users", user, json!({"matrix_user_id": office.lawyer.id()})).await.unwrap();
    let mut times = Vec::new();

    let mut last = String::new();
    for number in 1..=5 {
        let began = Instant::now();
        last = office.lawyer.say(&office.room, &text(&format!("Message {number}"))).await.unwrap();
        let seen = notes(&office.admin, case, number, SOON).await;
        assert_eq!(seen.len(), number, "{}\n{}", office.server.process().tail(), office.synapse.process().tail());
        times.push(began.elapsed());
    }
    let answer = json!({"msgtype": "m.text", "body": "Sixth", "m.relates_to": {"m.in_reply_to": {"event_id": last}}});
    office.lawyer.say(&office.room, &answer).await.unwrap();
    let edit = json!({
        "msgtype": "m.text", "body": "* Changed", "m.new_content": text("Changed"),
        "m.relates_to": {"rel_type": "m.replace", "event_id": last},
    });
    office.lawyer.say(&office.room, &edit).await.unwrap();
    // What Odoo itself sends comes back the same way, and is ignored.
    office.admin.press("legal.case", case, "action_matrix_send_test").await.unwrap();
    office.lawyer.say(&office.room, &text("Last")).await.unwrap();

    let seen = notes(&office.admin, case, 7, SOON).await;

    let texts = bodies(&seen);
    assert_eq!(seen.len(), 7, "{texts:?}");
    assert!(texts[0].contains("Message 1") && texts[6].contains("Last"), "{texts:?}");
    assert!(texts[4].contains("Changed"), "{texts:?}");
    assert_eq!(seen[5]["parent_id"][0], seen[4]["id"]);
    assert!(seen.iter().all(|note| note["author_id"] == admin[0]["partner_id"]), "{seen:?}");
    times.sort();
    writeln!(std::io::stderr(), "said in the room → note in the chatter: {times:.0?}").unwrap();
    assert!(times[times.len() / 2] < Duration::from_secs(2), "{times:?}");

    // Odoo has accepted it, and the answer is lost: the homeserver sends it again, and everything after it waits.
    relay.lose("/transactions/");
    for body in ["Sent again", "After it"] {
        office.lawyer.say(&office.room, &text(body)).await.unwrap();
    }
    let seen = notes(&office.admin, case, 9, SOON).await;
    let texts = bodies(&seen);
    assert_eq!((relay.left(), seen.len()), (0, 9), "{texts:?}");
    assert!(texts[7].contains("Sent again") && texts[8].contains("After it"), "{texts:?}");

    let two = files::two();
    files::send(&office, &two).await.unwrap();
    until(&office, "SELECT count(*) = 2 FROM matrix_inbound WHERE file_state = 'waiting'").await;
    files::check_attached(&office, case, &two).await.unwrap();

    // What is written while the account is not in the room is not for it.
    office.lawyer.kick(&office.room, &office.bot).await.unwrap();
    office.lawyer.say(&office.room, &text("Between us")).await.unwrap();
    office.lawyer.invite(&office.room, &office.bot).await.unwrap();
    office.admin.press("legal.case", case, "action_matrix_check_room").await.unwrap();
    office.lawyer.say(&office.room, &text("Back again")).await.unwrap();
    let seen = notes(&office.admin, case, 12, SOON).await;
    let texts = bodies(&seen);
    assert_eq!(seen.len(), 12, "{texts:?}");
    assert!(texts[11].contains("Back again"), "{texts:?}");
}
