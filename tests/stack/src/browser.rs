//! A person at a screen: Chromium, moved by real clicks and key strokes.
//!
//! Each [`Page`] is a window of its own that shares no login with another. What a page is asked to show or to press is
//! waited for, as a person waits.

mod pipe;

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;
use crate::{progress, scratch};
use pipe::Pipe;

/// How often a page is looked at that something must appear on.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Odoo makes the scripts and styles of a new database when they are first asked for.
const SHOWS_WITHIN: Duration = Duration::from_secs(120);
const PROGRAMS: [&str; 3] = ["chromium", "google-chrome", "chrome"];

/// What is seen of an element: `find(selector, text)` is the first visible one that has the text in it.
const FIND: &str = "const find = (selector, text) => [...document.querySelectorAll(selector)].find((element) =>
    element.checkVisibility() && element.textContent.replace(/\\s+/g, ' ').includes(text));";

/// Parts that Odoo's own widgets draw, in all its applications alike: nothing that an addon could change.
const DRAWN_BY_ODOO: [&str; 19] = [
    ".o_list_record_selector",
    ".o_optional_columns_dropdown",
    ".o_notebook_headers",
    ".o_avatar",
    ".o_m2m_avatar",
    ".o_tag",
    ".o_field_badge .badge",
    ".o_data_row.text-muted",
    ".o_data_cell .o-checkbox",
    ".o_clipboard_button",
    ".o-mail-ActivityButton",
    ".o-mail-ChatterContainer",
    ".o_field_html",
    ".o_cp_searchview",
    ".o_kanban_header",
    ".o_column_quick_create",
    ".o_field_selection",
    ".o_select_menu",
    ".o_field_many2many_tags",
];

/// `name(element)` is the name of a field or button, or else its text; `look(element)` how it and what is around it looks.
const CURSOR: &str = "const name = (element) => element.closest('button[name], .o_field_widget')?.getAttribute('name') ||
        element.id || element.textContent.trim().replace(/\\s+/g, ' ');
    const look = (element) => JSON.stringify([element, element.parentElement, element.nextElementSibling].map((part) => {
        const style = part && getComputedStyle(part);
        return style && [style.outline, style.boxShadow, style.borderColor, style.backgroundColor];
    }));";

/// Keeps what a page's scripts complain of. Debian's package of Odoo 19.0 lacks one library, which its page asks for.
const KEEP_ERRORS: &str = "window.scriptErrors = [];
    const keep = (error) => String(error).includes('selfie_segmentation') || window.scriptErrors.push(String(error));
    window.addEventListener('error', (event) => keep(event.message));
    window.addEventListener('unhandledrejection', (event) => keep(event.reason));
    const say = console.error;
    console.error = (...words) => { keep(words.join(' ')); say(...words); };";

/// A running browser. Dropping it ends it and removes its profile.
#[derive(Debug)]
pub struct Browser {
    process: Process,
    pipe: Pipe,
    _folder: TempDir,
}

/// A key that does something by itself.
#[derive(Debug, Clone, Copy)]
pub enum Key {
    Tab,
    Enter,
    Escape,
}

/// A window of a browser.
#[derive(Debug)]
pub struct Page<'a> {
    browser: &'a Browser,
    session: String,
}

/// The browser on the path, if there is one.
pub fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<_> = env::split_paths(&path).collect();
    PROGRAMS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|file| file.exists())
}

impl Browser {
    /// Starts the browser without a screen.
    pub async fn start() -> Result<Self> {
        let program = program().with_context(|| {
            format!("no browser is on the path ({}): install the package chromium", PROGRAMS.join(", "))
        })?;
        let folder = scratch("browser")?;
        let (pipe, [commands, answers]) = Pipe::make(folder.path())?;
        // The browser reads from descriptor 3 and writes to 4, which only a shell can set without unsafe code.
        let mut command = Command::new("sh");
        command.args(["-c", "in=$1 out=$2; shift 2; exec \"$@\" 3<\"$in\" 4>\"$out\"", "sh"]);
        command.args([&commands, &answers, &program]).args([
            "--headless",
            "--remote-debugging-pipe",
            // Its sandbox refuses root, and the pages are ours.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-extensions",
            "--disable-background-networking",
            "--no-first-run",
            "--lang=en-US",
            "--window-size=1600,1000",
        ]);
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        let process = Process::spawn("the browser", command, &folder.path().join("browser.log"))?;
        let browser = Self { process, pipe, _folder: folder };
        let version = browser.call("", "Browser.getVersion", json!({})).await?;
        progress::say(format!("Browser: {}", version["product"].as_str().unwrap_or_default()));
        Ok(browser)
    }

    /// Opens a window in which nobody is logged in anywhere.
    pub async fn open(&self) -> Result<Page<'_>> {
        let context = self.call("", "Target.createBrowserContext", json!({})).await?;
        let target = json!({"url": "about:blank", "browserContextId": context["browserContextId"]});
        let target = self.call("", "Target.createTarget", target).await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call("", "Target.attachToTarget", attach).await?;
        let session = attached["sessionId"].as_str().context("a session has an id")?.to_owned();
        let page = Page { browser: self, session };
        page.call("Page.enable", json!({})).await?;
        page.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": KEEP_ERRORS})).await?;
        Ok(page)
    }

    /// Opens a window in which `user` is logged in to the Odoo at `url`.
    pub async fn log_in(&self, url: &str, user: &str, password: &str) -> Result<Page<'_>> {
        let page = self.open().await?;
        page.visit(&format!("{url}/web/login")).await?;
        page.enter("input[name=login]", user).await?;
        page.enter("input[name=password]", password).await?;
        page.click(".oe_login_form button[type=submit]", "Log in").await?;
        page.see(".o_main_navbar", "").await?;
        Ok(page)
    }

    async fn call(&self, session: &str, method: &str, params: Value) -> Result<Value> {
        let answer = self.pipe.call(session, method, params).await;
        answer.with_context(|| format!("{method}\n{}", self.process.tail()))
    }
}

impl Page<'_> {
    /// Goes to an address.
    pub async fn visit(&self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", json!({"url": url})).await?;
        match answer["errorText"].as_str() {
            Some(error) => bail!("{url} does not open: {error}"),
            None => Ok(()),
        }
    }

    /// Waits until an element of `selector` shows `text`; gives back all of the element's text.
    pub async fn see(&self, selector: &str, text: &str) -> Result<String> {
        let look = format!("find({}, {})?.textContent", json!(selector), json!(text));
        let seen = self.until(&format!("{selector} with “{text}”"), &look).await?;
        Ok(seen.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until exactly `count` elements of `selector` are visible.
    pub async fn see_count(&self, selector: &str, count: usize) -> Result<()> {
        let all = format!("[...document.querySelectorAll({})]", json!(selector));
        let look = format!("{all}.filter((element) => element.checkVisibility()).length === {count} || null");
        self.until(&format!("{count} × {selector}"), &look).await.map(drop)
    }

    /// Presses the first element of `selector` that shows `text`, once it no longer moves and nothing covers it.
    pub async fn click(&self, selector: &str, text: &str) -> Result<()> {
        let place = format!(
            "(() => {{
                const element = find({}, {});
                if (!element) return null;
                element.scrollIntoView({{block: 'center', behavior: 'instant'}});
                const box = element.getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                const front = document.elementFromPoint(x, y);
                if (element.contains(front)) return [x, y];
                // A person closes what Odoo notifies of, if it is in the way.
                front?.closest('.o_notification')?.querySelector('.o_notification_close')?.click();
                return null;
            }})()",
            json!(selector),
            json!(text)
        );
        let what = format!("{selector} with “{text}” to press");
        let mut before = Value::Null;
        let place = loop {
            let now = self.until(&what, &place).await?;
            if now == before {
                break now;
            }
            before = now;
            tokio::time::sleep(LOOK_EVERY).await;
        };
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": button, "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event).await?;
        }
        Ok(())
    }

    /// Types `text` into the field of `selector`, in place of what is there.
    pub async fn enter(&self, selector: &str, text: &str) -> Result<()> {
        self.click(selector, "").await?;
        let focused = format!(
            "(() => {{
                const field = find({}, '');
                if (!field || field !== document.activeElement) return null;
                field.select();
                return true;
            }})()",
            json!(selector)
        );
        self.until(&format!("the cursor in {selector}"), &focused).await?;
        self.call("Input.insertText", json!({"text": text})).await.map(drop)
    }

    /// Presses a key and lets it go.
    pub async fn press(&self, key: Key) -> Result<()> {
        let (code, text) = match key {
            Key::Tab => (9, None),
            Key::Enter => (13, Some("\r")),
            Key::Escape => (27, None),
        };
        let name = format!("{key:?}");
        let down = if text.is_some() { "keyDown" } else { "rawKeyDown" };
        for kind in [down, "keyUp"] {
            let mut event = json!({"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": code});
            if let (Some(text), "keyDown") = (text, kind) {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Presses Tab; gives back the name of the field or button that has the cursor then. One must have seen where the
    /// cursor was before.
    pub async fn tab(&self) -> Result<String> {
        let leave = format!(
            "(() => {{
                {CURSOR}
                // What fades in or out looks like neither.
                const still = document.createElement('style');
                still.textContent = '* {{ transition: none !important; }}';
                document.head.append(still);
                window.left = document.activeElement;
                window.leftLook = look(window.left);
                return name(window.left);
            }})()"
        );
        let left = self.evaluate(&leave).await?;
        self.press(Key::Tab).await?;
        let reach = format!(
            "(() => {{
                {CURSOR}
                const isSeen = look(window.left) !== window.leftLook;
                return document.activeElement !== window.left && isSeen ? name(document.activeElement) : null;
            }})()"
        );
        let reached = self.until(&format!("Tab to leave {left}, where the cursor was seen"), &reach).await?;
        Ok(reached.as_str().unwrap_or_default().to_owned())
    }

    /// What axe-core, whose script is `axe`, finds serious in the element of `selector`; one line each. What Odoo draws
    /// there is left out.
    pub async fn barriers(&self, axe: &str, selector: &str) -> Result<Vec<String>> {
        self.call("Runtime.evaluate", json!({"expression": axe})).await?;
        let line = "(found, node) => `${found.id}: ${node.target.join(' ')} ${node.failureSummary}`";
        let serious = "({violations}) => violations.filter(({impact}) => ['serious', 'critical'].includes(impact))";
        // What fades in is too pale to be read, for a moment.
        let shown = "Promise.all(document.getAnimations()
            .filter(({effect}) => Number.isFinite(effect.getComputedTiming().endTime))
            .map(({finished}) => finished.catch(() => null)))";
        let run = format!(
            "(window.barriers = null,
            {shown}.then(() => axe.run({{include: [find({}, '')], exclude: {}}}, {{resultTypes: ['violations']}})).then((answer) => {{
                window.barriers = ({serious})(answer).flatMap((found) => found.nodes.map((node) => ({line})(found, node)));
            }}), true)",
            json!(selector),
            json!(DRAWN_BY_ODOO)
        );
        self.evaluate(&run).await?;
        let found = self.until("what axe-core found", "window.barriers").await?;
        Ok(serde_json::from_value(found)?)
    }

    /// Where the page is.
    pub async fn address(&self) -> Result<String> {
        Ok(serde_json::from_value(self.evaluate("location.href").await?)?)
    }

    /// What the scripts of the page have complained of since it was loaded.
    pub async fn script_errors(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_value(self.evaluate("window.scriptErrors").await?)?)
    }

    /// Waits until the expression `look` gives something.
    async fn until(&self, what: &str, look: &str) -> Result<Value> {
        let deadline = Instant::now() + SHOWS_WITHIN;
        loop {
            // Between two pages there is nothing that could be asked.
            if let Ok(found) = self.evaluate(look).await
                && !found.is_null()
            {
                return Ok(found);
            }
            if Instant::now() > deadline {
                let shown = self.evaluate("`${location}\\n${document.body.innerText}`").await?;
                bail!("waited in vain for {what}; the page shows {}", shown.as_str().unwrap_or_default());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn evaluate(&self, expression: &str) -> Result<Value> {
        let expression = format!("(() => {{ {FIND} return {expression}; }})()");
        let call = json!({"expression": expression, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", call).await?;
        match answer["exceptionDetails"].take() {
            Value::Null => Ok(answer["result"]["value"].take()),
            error => bail!("{expression}: {error}"),
        }
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value> {
        self.browser.call(&self.session, method, params).await
    }
}
