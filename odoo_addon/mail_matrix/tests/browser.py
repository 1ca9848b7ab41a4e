from odoo.tests import HttpCase
from odoo.tools.misc import file_path

from .common import MatrixCase


class BrowserCase(HttpCase, MatrixCase):
    """A real browser, in which the Matrix User and the Matrix Manager can log in."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.leave_out_what_the_package_lacks()
        for user in (cls.user, cls.manager):
            cls.let_log_in(user)

    @classmethod
    def let_log_in(cls, user):
        user.password = f"{user.login}-{user.login}"

    @classmethod
    def leave_out_what_the_package_lacks(cls):
        """Take a library out of the page that Debian's package of Odoo had to leave
        out.

        Its absence is an error on the console, which would fail every test.
        """
        path = "mail/static/lib/selfie_segmentation/selfie_segmentation.js"
        try:
            file_path(path)
        except FileNotFoundError:
            cls.env["ir.asset"].create(
                {
                    "name": "Not packaged",
                    "bundle": "web.assets_backend",
                    "directive": "remove",
                    "path": path,
                }
            )

    def browse(self, path, code, login):
        """Run ``code``, the body of an asynchronous function, at ``path``.

        ``until(find)`` waits for what ``find`` returns, ``click(selector)`` for its
        target. ``shows(selector, text)`` waits for an element with this text.
        ``enter(field, text)`` types into a field of the form. ``press(selector)``
        clicks a button whose answer opens the form anew, and waits for the new one:
        what is typed before is lost. ``seen(model, id)`` is for send_once_seen.
        ``stops(selector)`` names where Tab stops in an element, in this order.
        """
        script = """
            async function until(find, wanted = find) {
                const end = Date.now() + 30000;
                while (Date.now() < end) {
                    const found = find();
                    if (found) return found;
                    await new Promise(requestAnimationFrame);
                }
                throw new Error(`Waited in vain for ${wanted}`);
            }
            const one = (selector) => document.querySelector(selector);
            const click = async (selector) =>
                (await until(() => one(selector), selector)).click();
            const press = async (selector) => {
                const before = await until(() => one(".o_form_view"), "a form");
                await click(selector);
                await until(() => one(".o_form_view") && one(".o_form_view") !== before,
                    `the form after ${selector}`);
            };
            const seen = (model, id) => fetch("/web/dataset/call_kw", {
                method: "POST",
                headers: {"Content-Type": "application/json"},
                body: JSON.stringify({jsonrpc: "2.0", method: "call", params: {
                    model, method: "get_matrix_deliveries", args: [[id]],
                    kwargs: {context: {matrix_seen: true}}}}),
            });
            const reads = (element) =>
                element.closest("button[name], .o_field_widget")?.getAttribute("name")
                || element.id || element.textContent.trim();
            const isStop = (element) => element.tabIndex >= 0 && !element.disabled &&
                element.checkVisibility({visibilityProperty: true}) &&
                (element.type !== "radio" || element.checked);
            const stops = (selector) =>
                [...one(selector).querySelectorAll(
                    "a[href], button, input, select, textarea, summary, [tabindex]")]
                    .filter(isStop)
                    .sort((one, other) => (other.tabIndex > 0) - (one.tabIndex > 0))
                    .map(reads);
            const shows = (selector, text) => until(() =>
                [...document.querySelectorAll(selector)].find(
                    (element) => element.textContent.includes(text)), text);
            const enter = async (name, text) => {
                const input = await until(() =>
                    one(`[name=${name}] input, [name=${name}] textarea`), name);
                input.value = text;
                input.dispatchEvent(new Event("input", {bubbles: true}));
                input.dispatchEvent(new Event("change", {bubbles: true}));
            };
            (async () => { %s; console.log("test successful"); })().catch(
                (error) => console.error(error));
        """
        self.browser_js(
            path,
            script % code,
            "odoo.isReady === true",
            login=login,
            # A machine that others keep busy makes the bundles slowly.
            timeout=180,
        )

    def send_once_seen(self, model):
        """Let the worker send what waits when the script has seen it wait."""
        real = type(model).get_matrix_deliveries

        def look(record):
            if record.env.context.get("matrix_seen"):
                self.log_all()
            return real(record)

        self.patch(type(model), "get_matrix_deliveries", look)

    def form_of(self, record, xmlid):
        return f"/odoo/action-{xmlid}/{record.id}"
