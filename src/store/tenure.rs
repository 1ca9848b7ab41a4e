//! Whether this process is the only one with its name. If two run under the same name, the lock of the name distinguishes them.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

/// The session of a predecessor that has died ends well before that. A process that still holds the name then is
/// alive.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Our own earlier session may be the holder: the server's keepalives (`connect.rs`) detect within 25 s that its connection is dead.
pub(super) const GHOST_GONE_AFTER: Duration = Duration::from_secs(30);

/// What is known about the name's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenure {
    Unknown,
    /// It is ours, or was when the server last answered.
    Ours,
    /// Another running process has it.
    Taken,
}

#[derive(Debug)]
pub(super) struct Name {
    /// As configured.
    pub(super) name: String,
    /// `<name>/<incarnation>`: another process of the same name is a different owner.
    pub(super) owner: String,
    tenure: watch::Sender<Tenure>,
}

impl Name {
    pub(super) fn new(name: &str) -> Self {
        let owner = format!("{name}/{:08x}", fastrand::u32(..));
        Self { name: name.to_owned(), owner, tenure: watch::Sender::new(Tenure::Unknown) }
    }

    pub(super) fn tenure(&self) -> Tenure {
        *self.tenure.borrow()
    }

    /// Returns what was known before.
    pub(super) fn settle(&self, tenure: Tenure) -> Tenure {
        self.tenure.send_replace(tenure)
    }

    /// What this process is called in the list of workers: its plain name only if no other process has it.
    pub(super) fn listed(&self) -> &str {
        self.listed_while(self.tenure())
    }

    fn listed_while(&self, tenure: Tenure) -> &str {
        if tenure == Tenure::Taken { &self.owner } else { &self.name }
    }

    /// Ends when the tenure is known, or cannot be found out.
    pub(super) async fn settled(&self) {
        let mut tenure = self.tenure.subscribe();
        let known = tenure.wait_for(|tenure| *tenure != Tenure::Unknown);
        // The sender is ours, so the channel cannot end; if the database does not answer there is no point in waiting longer.
        let _ = timeout(SETTLED_AFTER + Duration::from_secs(1), known).await;
    }

    /// Ends when [`Self::listed`] is no longer `listed`.
    pub(super) async fn renamed(&self, listed: &str) {
        let mut tenure = self.tenure.subscribe();
        let _ = tenure.wait_for(|tenure| self.listed_while(*tenure) != listed).await;
    }
}
