//! A user of Odoo's external API (JSON-RPC, `execute_kw`).

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A logged-in user. The password travels with each call, as this API wants it.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    database: String,
    user_id: i64,
    password: String,
}

impl Client {
    pub(super) async fn login(url: &str, database: &str, user: &str, password: &str) -> Result<Self> {
        let mut client = Self {
            http: crate::http_client()?,
            url: url.to_owned(),
            database: database.to_owned(),
            user_id: 0,
            password: password.to_owned(),
        };
        let answer = client.rpc("common", "authenticate", json!([database, user, password, {}])).await?;
        client.user_id = answer.as_i64().with_context(|| format!("Odoo refuses the login of {user}"))?;
        Ok(client)
    }

    /// Calls a public method of a model: `args` is a JSON array, `kwargs` an object.
    pub async fn execute_kw(&self, model: &str, method: &str, args: Value, kwargs: Value) -> Result<Value> {
        let call = json!([self.database, self.user_id, self.password, model, method, args, kwargs]);
        self.rpc("object", "execute_kw", call).await.with_context(|| format!("{model}.{method}"))
    }

    /// Makes a record and gives back its id.
    pub async fn create(&self, model: &str, values: Value) -> Result<i64> {
        let made = self.execute_kw(model, "create", json!([values]), json!({})).await?;
        made.as_i64().with_context(|| format!("{model}.create gave {made}"))
    }

    /// Changes one record.
    pub async fn write(&self, model: &str, id: i64, values: Value) -> Result<()> {
        self.execute_kw(model, "write", json!([[id], values]), json!({})).await.map(drop)
    }

    /// Presses a button of one record.
    pub async fn press(&self, model: &str, id: i64, method: &str) -> Result<Value> {
        self.execute_kw(model, method, json!([[id]]), json!({})).await
    }

    /// Reads the records that a domain finds, in `order`.
    pub async fn search_read(&self, model: &str, domain: Value, fields: &[&str], order: &str) -> Result<Vec<Value>> {
        let kwargs = json!({"fields": fields, "order": order});
        let found = self.execute_kw(model, "search_read", json!([domain]), kwargs).await?;
        Ok(found.as_array().cloned().unwrap_or_default())
    }

    /// What the browser of this user gets at `path`.
    pub async fn download(&self, user: &str, path: &str) -> Result<String> {
        let params = json!({"db": self.database, "login": user, "password": self.password});
        let body = json!({"jsonrpc": "2.0", "method": "call", "id": 1, "params": params});
        let session = format!("{}/web/session/authenticate", self.url);
        let answer = self.http.post(session).json(&body).send().await?.error_for_status()?;
        let cookies = answer.headers().get_all("set-cookie").iter();
        let cookies: Vec<_> =
            cookies.filter_map(|value| value.to_str().ok()?.split(';').next().map(str::to_owned)).collect();
        let request = self.http.get(format!("{}{path}", self.url)).header("Cookie", cookies.join("; "));
        Ok(request.send().await?.error_for_status()?.text().await?)
    }

    async fn rpc(&self, service: &str, method: &str, args: Value) -> Result<Value> {
        let params = json!({"service": service, "method": method, "args": args});
        let body = json!({"jsonrpc": "2.0", "method": "call", "id": 1, "params": params});
        let answer = self.http.post(format!("{}/jsonrpc", self.url)).json(&body).send().await?;
        let mut answer: Value = answer.error_for_status()?.json().await?;
        if let Some(error) = answer.get("error") {
            let data = &error["data"];
            bail!("Odoo says: {} ({})", data["message"].as_str().unwrap_or_default().trim(), data["name"]);
        }
        Ok(answer["result"].take())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "user {} of {} at {}", self.user_id, self.database, self.url)
    }
}
