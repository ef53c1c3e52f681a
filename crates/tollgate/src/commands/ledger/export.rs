//! `tollgate ledger export`: the calls of every tenant as one file, tenant after tenant.

use serde_json::Value;

use super::super::usage::export::{Args, File};
use crate::client::{Client, query};
use crate::output::Failure;

/// Writes the file: of the tenant that was named, else of all of them.
pub(super) async fn run(client: &Client, tenant: Option<&str>, args: &Args) -> Result<(), Failure> {
    let mut file = File::begin(args);
    let added = match tenant {
        Some(_) => file.add(client).await,
        None => add_all(&mut file, client).await,
    };
    file.end(added)
}

async fn add_all(file: &mut File<'_>, client: &Client) -> Result<(), Failure> {
    let mut cursor = None;
    loop {
        let parameters = [("limit", Some("200".to_owned())), ("cursor", cursor)];
        let path = format!("/api/v1/tenants{}", query(&parameters));
        let page = client.get(&path).await?.json;
        for tenant in page
            .get("data")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if let Some(id) = tenant.get("id").and_then(Value::as_str) {
                file.add(&client.acting_on(id)?).await?;
            }
        }
        cursor = page
            .get("next_cursor")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned);
        if cursor.is_none() {
            return Ok(());
        }
    }
}
