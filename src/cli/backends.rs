//! Which backends a command means.

use super::{CliError, table::plain};
use crate::{message::BackendId, store::Store};

/// The backend with this id, or all of them.
///
/// # Errors
/// An unknown id is named beside those that there are.
pub(super) async fn chosen(store: &Store, id: Option<BackendId>) -> Result<Vec<(BackendId, String)>, CliError> {
    let all = store.backend_names().await.map_err(CliError::from)?;
    if all.is_empty() {
        return Err(CliError::Usage("there is no backend; add one in Odoo under Matrix > Backends".to_owned()));
    }
    let Some(id) = id else { return Ok(all) };
    let known: Vec<_> = all.iter().map(|(id, name)| shown(*id, name)).collect();
    let chosen: Vec<_> = all.into_iter().filter(|(known, _)| *known == id).collect();
    if chosen.is_empty() {
        return Err(CliError::Usage(format!(
            "--backend {id}: there is no such backend; there is {}",
            known.join(", ")
        )));
    }
    Ok(chosen)
}

/// A backend as the commands print it.
pub(super) fn shown(id: BackendId, name: &str) -> String {
    format!("{id} «{}»", plain(name))
}

/// One line for each backend that was asked for: what it was before, or that nothing was to be done.
pub(super) fn changes(
    asked: &[(BackendId, String)],
    changed: &[(BackendId, String)],
    words: impl Fn(Option<&str>) -> String,
) -> String {
    let lines = asked.iter().map(|(id, name)| {
        let was = changed.iter().find(|(changed, _)| changed == id).map(|(_, was)| was.as_str());
        format!("backend {}: {}", shown(*id, name), words(was))
    });
    lines.collect::<Vec<_>>().join("\n")
}
