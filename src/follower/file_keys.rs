//! The key of an encrypted file is in its message. Odoo fetches and decrypts the file later, and gets the key sealed: it is in no request, in
//! no log and not in the database in clear text.

use serde_json::{Value, json};

use crate::seal::Keys;

/// What of a file Odoo gets sealed: a word that Odoo knows too.
const SEALED: &str = "org.odoo.sealed";

/// `content` with its file sealed, and without any other file's key.
pub(super) fn sealed(mut content: Value, keys: &Keys) -> Value {
    let file = content.get_mut("file").map(Value::take);
    // Previews, and copies of the file for other clients.
    drop_keys(&mut content);
    if let Some(file) = file
        && let Some(sealed) = keys.seal(file.to_string().as_bytes())
    {
        content["file"] = json!({ "url": file["url"], SEALED: sealed });
    }
    content
}

fn drop_keys(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, member| !(name == "key" && member.get("k").is_some()));
            members.values_mut().for_each(drop_keys);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_keys),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use fernet::Fernet;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_key_of_the_file_is_sealed_and_others_are_left_out() {
        let keys = Keys::parse(&Fernet::generate_key()).unwrap();
        let file = |secret: &str| json!({ "url": "mxc://x.org/a", "key": { "k": secret, "alg": "A256CTR" }, "iv": "i", "v": "v2" });
        let content = json!({
            "msgtype": "m.image", "body": "key", "file": file("secret1"), "info": { "thumbnail_file": file("secret2"), "key": 1 },
            "org.matrix.msc1767.file": [{ "file": file("secret3") }], "m.new_content": { "file": file("secret4") },
        });

        let sealed = sealed(content, &keys);

        let text = sealed.to_string();
        assert!(!text.contains("secret"), "{text}");
        assert_eq!((&sealed["body"], &sealed["info"]["key"]), (&json!("key"), &json!(1)));
        assert_eq!(sealed["file"]["url"], "mxc://x.org/a");
        let opened = keys.open("key", sealed["file"][SEALED].as_str()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(opened.expose_secret()).unwrap(), file("secret1"));
    }

    #[test]
    fn what_has_no_file_stays_as_it_is() {
        let keys = Keys::parse(&Fernet::generate_key()).unwrap();
        for content in [json!({ "msgtype": "m.text", "body": "x" }), json!(null), json!([1]), json!("file")] {
            assert_eq!(sealed(content.clone(), &keys), content);
        }
    }
}
