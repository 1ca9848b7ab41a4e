//! `resume`: an operator lets backends send again.

use super::{CliError, backends, open, print};
use crate::{config::Config, message::BackendId};

pub(super) async fn resume(config: &Config, only: Option<BackendId>) -> Result<(), CliError> {
    let store = open(config)?;
    store.check_contract().await?;
    let asked = backends::chosen(&store, only).await?;
    let ids: Vec<_> = asked.iter().map(|(id, _)| *id).collect();
    let resumed = store.resume(&ids).await?;
    print(&backends::changes(&asked, &resumed, |was| {
        was.map_or_else(|| "was not stopped".to_owned(), |was| format!("sends again; it was {}", was.replace('_', " ")))
    }));
    Ok(())
}
