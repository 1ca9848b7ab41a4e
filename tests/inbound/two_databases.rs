//! Two databases of Odoo in one room.

use std::{path::Path, time::Duration};

use serde_json::json;
use stack::{
    odoo::Client,
    office::{Branch, send_to_odoo},
    postgres, story,
};

use crate::common::{BINARY, bodies, follow, notes, open_office, text};

const SOON: Duration = Duration::from_secs(90);

/// One reads the room by its worker, the other is sent what is written. Both post in the room everything that their chatter receives,
/// internal notes too.
#[tokio::test]
#[ignore = "a second Odoo takes minutes: make soak"]
async fn two_databases_in_one_room_do_not_answer_each_other() {
    let (mut office, case) = open_office().await;
    let other_bot = office.synapse.register("other", "let me in", false).await.unwrap();
    office.lawyer.invite(&office.room, &other_bot).await.unwrap();
    other_bot.join(&office.room).await.unwrap();
    let branch = Branch::open(postgres::shared().await, Path::new(BINARY), &office.synapse, &other_bot).await.unwrap();
    let client = branch.admin.create("res.partner", json!({"name": "Acme"})).await.unwrap();
    let theirs = json!({"name": "Acme against Doe", "partner_id": client, "matrix_room_id": office.room});
    let theirs = branch.admin.create("legal.case", theirs).await.unwrap();
    for (admin, case) in [(&office.admin, case), (&branch.admin, theirs)] {
        let all = json!({"matrix_mirror_chatter": true, "matrix_mirror_notes": true});
        admin.write("legal.case", case, all).await.unwrap();
    }
    follow(&office).await;
    let theirs_at = branch.server.url().to_owned();
    send_to_odoo(&mut office.synapse, &branch.admin, branch.backend, &theirs_at).await.unwrap();

    comment(&office.admin, case, "From one").await;
    comment(&branch.admin, theirs, "From the other").await;
    office.lawyer.say(&office.room, &text("From a person")).await.unwrap();
    let both = [(&office.admin, case, "one"), (&branch.admin, theirs, "the other")];
    for (admin, case, name) in both {
        let seen = notes(admin, case, 1, SOON).await;
        assert!(bodies(&seen)[0].contains("From a person"), "{name}: {seen:?}");
    }
    // Two cases, two comments, a person.
    let room = story::arrived(&office, &office.room, 5, SOON).await.unwrap();
    assert_eq!(room.len(), 5, "{room:?}");

    // Once these have made their way, so has everything that the ones before could have caused.
    comment(&office.admin, case, "Again from one").await;
    comment(&branch.admin, theirs, "Again from the other").await;
    story::arrived(&office, &office.room, 7, SOON).await.unwrap();
    office.lawyer.say(&office.room, &text("The last word")).await.unwrap();

    for (admin, case, name) in both {
        let seen = notes(admin, case, 2, SOON).await;
        let seen = bodies(&seen);
        assert_eq!(seen.len(), 2, "{name}: {seen:?}");
        assert!(seen[1].contains("The last word"), "{name}: {seen:?}");
    }
    let room = office.lawyer.messages(&office.room).await.unwrap();
    assert_eq!(room.len(), 8, "{room:?}");
    for database in [office.site.database(), branch.site.database()] {
        let waiting = database.connect().await.unwrap().query_one("SELECT count(*) FROM matrix_outbox", &[]).await;
        assert_eq!(waiting.unwrap().get::<_, i64>(0), 0, "nothing is on its way out");
    }
}

async fn comment(admin: &Client, case: i64, body: &str) {
    let values = json!({"body": body, "message_type": "comment", "subtype_xmlid": "mail.mt_comment"});
    admin.execute_kw("legal.case", "message_post", json!([[case]]), values).await.unwrap();
}
