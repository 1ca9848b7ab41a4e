//! The DevTools protocol through two named pipes: JSON messages, each ended by a zero byte.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};
use tokio::sync::Mutex;
use tokio::time::timeout;

const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Our ends of the pipes.
#[derive(Debug)]
pub(super) struct Pipe {
    ends: Mutex<Ends>,
}

#[derive(Debug)]
struct Ends {
    commands: Sender,
    answers: Receiver,
    unread: Vec<u8>,
    last_id: u64,
}

impl Pipe {
    /// Makes the pipes in `folder`; gives back the paths that the browser reads commands from and writes answers to.
    pub(super) fn make(folder: &Path) -> Result<(Self, [PathBuf; 2])> {
        let paths = ["commands", "answers"].map(|name| folder.join(name));
        for path in &paths {
            let made = mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
            made.with_context(|| format!("cannot make the pipe {}", path.display()))?;
        }
        // Open for both directions, so that it does not matter who comes first.
        let mut options = OpenOptions::new();
        options.read_write(true);
        let (commands, answers) = (options.open_sender(&paths[0])?, options.open_receiver(&paths[1])?);
        let ends = Ends { commands, answers, unread: Vec::new(), last_id: 0 };
        Ok((Self { ends: Mutex::new(ends) }, paths))
    }

    /// Calls a method, in a session or, where that is empty, of the browser itself.
    pub(super) async fn call(&self, session: &str, method: &str, params: Value) -> Result<Value> {
        let mut ends = self.ends.lock().await;
        let answer = timeout(ANSWERS_WITHIN, ends.call(session, method, params)).await;
        let mut answer =
            answer.with_context(|| format!("the browser did not answer within {} s", ANSWERS_WITHIN.as_secs()))??;
        match answer["error"].take() {
            Value::Null => Ok(answer["result"].take()),
            error => bail!("the browser refuses: {error}"),
        }
    }
}

impl Ends {
    async fn call(&mut self, session: &str, method: &str, params: Value) -> Result<Value> {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": params});
        if !session.is_empty() {
            message["sessionId"] = session.into();
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).await?;
        loop {
            let answer = self.next().await?;
            // The rest are events, and answers that came too late.
            if answer["id"] == self.last_id {
                return Ok(answer);
            }
        }
    }

    async fn next(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == 0) {
                let message: Vec<u8> = self.unread.drain(..=end).collect();
                return serde_json::from_slice(&message[..end]).context("the browser gave no JSON");
            }
            self.answers.read_buf(&mut self.unread).await?;
        }
    }
}
