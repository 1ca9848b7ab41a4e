//! A site can be made, and answers by its API.
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::sync::Arc;

use serde_json::json;
use stack::odoo::{Odoo, Site};
use stack::postgres;

#[tokio::test]
async fn a_site_answers_by_its_api() {
    let postgres = postgres::shared().await;
    let odoo = Arc::new(Odoo::install().await.unwrap());
    let site = Site::make(&odoo, postgres, false).await.unwrap();

    let server = site.serve().await.unwrap();
    let admin = server.login("admin", "admin").await.unwrap();

    let partner = admin.create("res.partner", json!({"name": "Ada"})).await.unwrap();
    admin.write("res.partner", partner, json!({"name": "Ada Lovelace"})).await.unwrap();
    let found = admin.search_read("res.partner", json!([["id", "=", partner]]), &["name"], "id").await.unwrap();
    assert_eq!(found, [json!({"id": partner, "name": "Ada Lovelace"})]);
    server.login("admin", "guessed").await.expect_err("the password counts");
}
