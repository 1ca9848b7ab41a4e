//! Files that people send in a room, and what Odoo attaches of them.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::office::Office;

const PICTURE: &[u8] = include_bytes!("../../../odoo_addon/mail_matrix/static/description/icon.png");

/// A name, a type, and what is in it.
pub type File = (&'static str, &'static str, Vec<u8>);

/// A document and a picture.
pub fn two() -> [File; 2] {
    [("Antwort ö.pdf", "application/pdf", pdf()), ("scan.png", "image/png", PICTURE.to_vec())]
}

/// Bytes that no text has, and enough of them for several packets.
pub fn pdf() -> Vec<u8> {
    let rest = (0..200_000_u32).map(|number| (number * 7919 % 256) as u8);
    b"%PDF-1.4 ".iter().copied().chain(rest).collect()
}

/// As Odoo's RPC takes bytes: in base64.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// The lawyer sends files in the office's room.
pub async fn send(office: &Office, files: &[File]) -> Result<()> {
    for (name, mimetype, bytes) in files {
        let address = office.lawyer.upload(name, mimetype, bytes).await?;
        let kind = if mimetype.starts_with("image/") { "m.image" } else { "m.file" };
        let content = json!({"msgtype": kind, "body": name, "url": address, "info": {"size": bytes.len()}});
        office.lawyer.say(&office.room, &content).await?;
    }
    Ok(())
}

/// Lets Odoo fetch the files that have come in, and checks that a case has exactly these, byte for byte.
pub async fn check_attached(office: &Office, case: i64, files: &[File]) -> Result<()> {
    let admin = &office.admin;
    // This Odoo has no thread for scheduled actions.
    let domain = json!([["cron_name", "=", "Matrix: attach files from rooms"]]);
    let crons = admin.search_read("ir.cron", domain, &["id"], "id").await?;
    let cron = crons.first().and_then(|cron| cron["id"].as_i64()).context("the scheduled action exists")?;
    for _ in files {
        admin.press("ir.cron", cron, "method_direct_trigger").await?;
    }
    let of_case = json!([["res_model", "=", "legal.case"], ["res_id", "=", case]]);
    let found = admin.search_read("ir.attachment", of_case, &["name", "datas", "mimetype"], "id").await?;
    let names: Vec<_> = found.iter().map(|file| (file["name"].as_str(), file["mimetype"].as_str())).collect();
    let wanted: Vec<_> = files.iter().map(|(name, mimetype, _)| (Some(*name), Some(*mimetype))).collect();
    ensure!(names.ends_with(&wanted), "Odoo has {names:?}, and {wanted:?} were sent");
    for (file, (name, _, bytes)) in found[found.len() - files.len()..].iter().zip(files) {
        ensure!(file["datas"] == base64(bytes), "{name} is not the same in Odoo");
    }
    Ok(())
}
