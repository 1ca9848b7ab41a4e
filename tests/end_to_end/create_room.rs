//! *Create Room*, clicked again and again.

use serde_json::json;

use crate::open_office;

/// The endpoint that makes a room knows no transaction id.
#[tokio::test]
async fn clicking_create_room_again_and_again_creates_one_room() {
    let office = open_office().await;
    let client = office.admin.create("res.partner", json!({"name": "Jane Doe"})).await.unwrap();
    let case = json!({"name": "Doe against Acme", "partner_id": client});
    let rooms = || async { office.bot.rooms().await.unwrap().len() };
    let linked = |case: i64| {
        let find = json!([["id", "=", case]]);
        async { office.admin.search_read("legal.case", find, &["matrix_room_id"], "id").await.unwrap().remove(0) }
    };
    let before = rooms().await;

    let asked = office.admin.create("legal.case", case.clone()).await.unwrap();
    let press = || office.admin.press("legal.case", asked, "action_matrix_create_room");
    let clicks = tokio::join!(press(), press(), press(), press());

    for click in [clicks.0, clicks.1, clicks.2, clicks.3] {
        click.unwrap();
    }
    assert_eq!(rooms().await, before + 1);
    assert!(linked(asked).await["matrix_room_id"].is_string());

    // The room is there, and then the transaction fails.
    let failed = office.admin.create("legal.case", case).await.unwrap();
    let database = office.site.database().connect().await.unwrap();
    let refuse = "ALTER TABLE legal_case ADD CONSTRAINT refuse CHECK (matrix_room_id IS NULL) NOT VALID";
    database.batch_execute(refuse).await.unwrap();
    office.admin.press("legal.case", failed, "action_matrix_create_room").await.expect_err("the link is refused");
    assert_eq!(rooms().await, before + 2);
    database.batch_execute("ALTER TABLE legal_case DROP CONSTRAINT refuse").await.unwrap();

    office.admin.press("legal.case", failed, "action_matrix_create_room").await.unwrap();

    assert_eq!(rooms().await, before + 2);
    assert!(linked(failed).await["matrix_room_id"].is_string());
}
