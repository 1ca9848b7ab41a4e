//! What a person sees on a terminal, and what a pipe gets instead.

use std::{
    io::Read as _,
    process::{Command, Stdio},
    time::Duration,
};

use stack::world::World;
use tokio::time::timeout;

use crate::{BINARY, pty::Pty};

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";
const HOME: &str = "\u{1b}[H";
const CTRL_C: u8 = 3;

/// A world with a room in trouble, whose name is wider than the terminal.
async fn troubled() -> World {
    let world = World::new(BINARY).await;
    let wide = format!("!{}:double.test", "x".repeat(120));
    world.enqueue(&wide, "waits").await;
    world
        .client
        .batch_execute(
            "INSERT INTO matrix_lane (lane, head_id, attempts, last_error, first_failed_at)
            SELECT lane, id, 2, 'HTTP 502', now() AT TIME ZONE 'UTC' FROM matrix_outbox",
        )
        .await
        .unwrap();
    world
}

/// The lines of one frame, without the sequences that draw it.
fn lines(frame: &str) -> Vec<String> {
    let text = frame.replace("\u{1b}[K", "").replace("\u{1b}[J", "");
    let text = text.split(LEAVE).next().unwrap().split("\u{1b}[?7h").next().unwrap();
    text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

#[tokio::test]
async fn the_watch_fits_into_the_terminal_and_gives_it_back() {
    let world = troubled().await;
    for key in [b'q', CTRL_C] {
        let mut pty = Pty::start(&world.launch.command(&["status", "--watch"]), 80, 40);
        pty.until_seen("a whole frame", |shown| shown.contains(ENTER) && shown.contains("\u{1b}[J")).await;

        let shown = pty.shown();
        let frame = lines(shown.split(HOME).nth(1).unwrap());
        assert!(frame.iter().all(|line| line.chars().count() <= 80), "{frame:#?}");
        assert!(frame[0].contains("q: leave") && frame[2].ends_with(" UTC"), "{frame:#?}");
        assert!(frame.iter().any(|line| line.contains("No worker was seen")), "{frame:#?}");
        assert!(frame.iter().any(|line| line.contains("fix: start odoo-matrix-worker")), "{frame:#?}");
        assert!(frame.iter().any(|line| line.contains("Rooms in trouble")), "{frame:#?}");
        assert!(frame.iter().any(|line| line.contains("HEAD") && line.contains("RETRY IN")), "{frame:#?}");
        assert!(frame.iter().any(|line| line.contains("!xxx") && line.contains('…')), "{frame:#?}");
        assert!(!shown.contains("\u{1b}[2J"), "the screen is emptied: it flickers");
        assert!(!pty.is_as_before());

        pty.resize(60, 10);
        pty.until("more lines: make the window taller").await;
        let last = pty.shown();
        let frame = lines(last.rsplit(HOME).next().unwrap());
        assert!(frame.len() <= 10 && frame.iter().all(|line| line.chars().count() <= 60), "{frame:#?}");

        pty.press(key);
        let status = timeout(Duration::from_secs(10), pty.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{key}: {status}");
        pty.until(LEAVE).await;
        assert!(pty.shown().ends_with(LEAVE) && pty.shown().contains("\u{1b}[?25h"), "{:?}", pty.shown());
        assert!(pty.is_as_before());
    }
}

#[tokio::test]
async fn a_watch_without_a_terminal_prints_blocks() {
    let world = World::new(BINARY).await;
    let mut command = world.launch.command(&["status", "--watch"]);
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = watch.stdout.take().unwrap();

    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        let mut bytes = [0; 4096];
        while text.matches("BACKEND").count() < 2 {
            let count = output.read(&mut bytes).unwrap();
            assert!(count > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        text
    });
    let text = timeout(Duration::from_secs(60), text).await.unwrap().unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();

    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.contains(" UTC\n") && text.contains("no worker"), "{text}");
}

#[tokio::test]
async fn long_commands_show_how_far_they_are_on_a_terminal_only() {
    let world = World::new(BINARY).await;
    let ids = world.enqueue_many(&["!a:double.test"], "message", 100).await;
    world.homeserver.delay(Duration::from_millis(20));
    let mut pty = Pty::start(&world.launch.command(&["drain"]), 30, 24);
    pty.until("sent, 0 failed, ").await;
    assert!(timeout(Duration::from_secs(60), pty.child.wait()).await.unwrap().unwrap().success());
    world.assert_settled(&ids).await;
    pty.until("100 sent, 0 failed, 0 still waiting").await;
    let shown = pty.shown();
    // Each line of the log begins where the progress was, and the last line has nothing else.
    assert!(shown.contains("\r\u{1b}[K100 sent, 0 failed, 0 still waiting"), "{shown:?}");

    let log = "INSERT INTO matrix_log (date, queued_at, backend_id, outbox_id, status, room_id)
        SELECT now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC', 1, n, 'ok', '!a:x' FROM generate_series(1, 50000) AS n";
    world.client.batch_execute(log).await.unwrap();
    let question = ["history", "--room", "!nowhere:x"];
    let pty = Pty::start(&world.launch.command(&question), 120, 24);
    pty.until("Nothing found: no such message").await;
    assert!(pty.shown().contains("40000 lines of the log read, back to "), "{:?}", pty.shown());

    for arguments in [&["drain"][..], &question] {
        let output = world.command(arguments).await;
        assert!(!output.stderr.contains(&0x1b) && !output.stdout.contains(&0x1b), "{arguments:?}");
    }
    let json = world.launch.command(&["history", "--json", "--room", "!nowhere:x"]);
    assert!(!on_terminal(&json).await.contains('\u{1b}'));
    let check = on_terminal(&world.launch.command(&["check"])).await;
    assert!(check.contains("asking the homeserver of backend"), "{check:?}");
}

/// All that a command shows.
async fn on_terminal(command: &Command) -> String {
    let mut pty = Pty::start(command, 100, 24);
    timeout(Duration::from_secs(60), pty.child.wait()).await.unwrap().unwrap();
    let before = pty.shown().len();
    pty.until_seen("the end", |shown| shown.len() >= before && shown.ends_with('\n')).await;
    pty.shown()
}
