//! `pause`: an operator stops backends from sending.

use super::{CliError, backends, open, print};
use crate::{config::Config, message::BackendId};

/// A reason is one line that managers read in Odoo.
const REASON_BYTES: usize = 500;

pub(super) async fn pause(config: &Config, only: Option<BackendId>, reason: &str) -> Result<(), CliError> {
    let reason = checked(reason)?;
    let store = open(config)?;
    store.check_contract().await?;
    let asked = backends::chosen(&store, only).await?;
    let ids: Vec<_> = asked.iter().map(|(id, _)| *id).collect();
    let paused = store.pause(&ids, reason).await?;
    print(&backends::changes(&asked, &paused, |was| match was {
        Some("paused") => "was paused already; the reason is the new one".to_owned(),
        Some(_) => "paused; what is in flight is finished, the rest waits until it is resumed".to_owned(),
        None => "is gone".to_owned(),
    }));
    Ok(())
}

fn checked(reason: &str) -> Result<&str, CliError> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(CliError::Usage("--reason is empty; write in a few words why, for those who will ask".to_owned()));
    }
    if reason.len() > REASON_BYTES || reason.contains(char::is_control) {
        let shown: String = reason.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(CliError::Usage(format!(
            "--reason «{shown}…» is not one line of at most {REASON_BYTES} bytes; shorten it"
        )));
    }
    Ok(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_some_words() {
        assert_eq!(checked(" upgrade of Synapse ").unwrap(), "upgrade of Synapse");
        for bad in ["", "  ", "two\nlines", &"x".repeat(501)] {
            let error = checked(bad).unwrap_err().to_string();
            assert!(error.starts_with("--reason"), "{error}");
        }
    }
}
