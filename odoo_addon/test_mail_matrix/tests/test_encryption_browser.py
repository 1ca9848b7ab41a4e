from odoo import api
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.browser import BrowserCase
from odoo.addons.mail_matrix.tests.homeserver import BOT
from odoo.addons.mail_matrix.tests.test_encryption_appservice import AppServiceCase
from odoo.addons.mail_matrix.tests.test_encryption_setup import (
    PASSWORD,
    RECOVERY_KEY,
    SIGNED,
    SetupCase,
)

# ``answered()`` waits until the worker is asked, and lets it answer; ``type(field,
# text)`` types in the dialog; ``leads(selector, stops)`` says where Tab must lead.
_SCRIPT = """
    const worker = async () => {
        const answer = await fetch("/web/dataset/call_kw", {
            method: "POST",
            headers: {"Content-Type": "application/json"},
            body: JSON.stringify({jsonrpc: "2.0", method: "call", params: {
                model: "matrix.backend", method: "get_matrix_setup", args: [],
                kwargs: {context: {matrix_worker: true}}}}),
        });
        return (await answer.json()).result;
    };
    // The request is stored when Odoo has answered.
    const answered = async () => {
        const end = Date.now() + 30000;
        while (!(await worker())) {
            if (Date.now() > end) throw new Error("The worker is not asked");
        }
    };
    const type = async (id, text) => {
        const input = await until(() => one(`.modal #${id}`), id);
        input.value = text;
        input.dispatchEvent(new Event("input", {bubbles: true}));
    };
    const submit = ".modal footer .btn-primary";
    const leads = (selector, wanted) => {
        const found = stops(selector);
        if (found.join() !== wanted.join())
            throw new Error(`Tab leads to ${found.join()}`);
    };
    await click(".nav-link[name=encryption]");
"""


class EncryptionBrowserCase(BrowserCase, SetupCase):
    """A manager's browser, and a worker that answers when the script asks it to."""

    def setUp(self):
        super().setUp()
        self.form = f"/odoo/action-mail_matrix.matrix_backend_action/{self.backend.id}"
        self.asked = None

        @api.model
        def get_matrix_setup(backends):
            if not backends.env.context.get("matrix_worker"):
                return False
            return self.let_worker_answer()

        self.patch(
            type(self.env["matrix.backend"]), "get_matrix_setup", get_matrix_setup
        )

    def let_worker_answer(self):
        """Take the request, as a worker does, and write the outcome, if there is one.

        Return whether there was one.
        """
        if not self.requests():
            return False
        self.asked = self.request()
        self.env.cr.execute("DELETE FROM matrix_crypto_request")
        self.keys()
        return True

    def run_script(self, code):
        self.browse(self.form, _SCRIPT + code, "matrix-manager")


@tagged("post_install", "-at_install")
class TestEncryptionBrowser(EncryptionBrowserCase):
    """A manager sets up encryption, and what the form says afterwards."""

    def test_an_account_that_is_used_already_is_set_up_with_its_recovery_key(self):
        self.answers["POST", "/keys/query"] = (200, SIGNED)
        self.run_script(
            f"""
            await click("button[name=action_set_up_encryption]");
            await type("o_matrix_device_user", "{BOT}");
            await type("o_matrix_device_secret", "{PASSWORD}");
            if (one(".modal #o_matrix_recovery_key"))
                throw new Error("Asked for a recovery key before it is needed");
            await click(submit);
            await shows(".modal .alert-danger", "Enter its recovery key");
            await type("o_matrix_recovery_key", "{RECOVERY_KEY}");
            await click(submit);
            await shows(submit, "Waiting for the worker");
            await answered();
            await shows(".o_notification", "Encryption is set up");
            await click(".nav-link[name=encryption]");
            await shows("[name=encryption_state] .text-bg-success", "Ready");
            await shows("[name=encryption_fingerprint]", "r4pO Hu9T");
            """
        )
        self.assertEqual(self.asked, ("recovery_key", RECOVERY_KEY))
        self.assertTrue(self.backend.encrypt_new_rooms)

    def test_a_device_that_was_lost_is_replaced(self):
        self.set_up(state="lost", reason="the keys are gone")
        self.run_script(
            """
            await shows(".alert-warning", "The keys are gone. ");
            await shows("[name=encryption_state] .text-bg-danger", "Keys lost");
            // Beside what is wrong, and on the page.
            await click(".alert button[name=action_set_up_encryption]");
            await shows(".modal", "Odoo needs a device of its own");
            """
        )

    def test_a_device_that_is_not_signed_is_verified(self):
        self.set_up(signature="missing", signature_reason="no recovery key")
        self.run_script(
            """
            await shows("[name=encryption_state] .text-bg-warning", "Not verified");
            await click("button[name=action_verify_device]");
            await until(() => one(".modal #o_matrix_recovery_key"));
            if (one(".modal #o_matrix_device_secret"))
                throw new Error("Asked for the password");
            await click(".modal #o_matrix_signing_replace");
            await until(() => one(".modal #o_matrix_device_secret"));
            """
        )

    def test_where_no_worker_encrypts_the_page_says_so_and_offers_nothing(self):
        self.worker("1.0.0")
        self.run_script(
            """
            await shows(".tab-pane.active", "no running worker can");
            if (one("button[name=action_set_up_encryption]"))
                throw new Error("Offered, but no worker can do it");
            """
        )

    def test_tab_leads_through_the_form_and_the_dialog_as_they_are_read(self):
        self.run_script(
            """
            const groups = [...document.querySelectorAll(".o_form_sheet .o_group")];
            groups[0].id = "first_groups";
            leads("#first_groups", ["homeserver_url", "personal_access_token",
                "action_log_in", "action_forget_token", "default_sender_display",
                "sign_messages", "verify_ssl", "is_active", "default_room_id",
                "create_rooms", "hold_on_outage", "expire_hours", "use_threads",
                "send_files"]);
            await click("button[name=action_set_up_encryption]");
            await type("o_matrix_device_user", "odoo");
            leads(".modal-content", ["o_matrix_device_password",
                "o_matrix_device_user", "o_matrix_device_secret", "Set Up", "Cancel"]);
            """
        )


@tagged("post_install", "-at_install")
class TestAppServiceEncryptionBrowser(EncryptionBrowserCase, AppServiceCase):
    """The dialog where messages are sent through the application service."""

    def setUp(self):
        super().setUp()
        self.device = self.sends()

    def test_it_is_set_up_without_a_password(self):
        self.run_script(
            """
            await click("button[name=action_set_up_encryption]");
            await until(() => one(".modal #o_matrix_device_service:checked"));
            leads(".modal-content", ["o_matrix_device_service", "Set Up", "Cancel"]);
            await click(".modal #o_matrix_device_password");
            await shows(".modal", "no longer sent through the application service");
            await until(() => one(".modal #o_matrix_device_secret"));
            await click(".modal #o_matrix_device_service");
            await until(() => !one(".modal #o_matrix_device_secret"));
            await click(submit);
            await answered();
            await shows(".o_notification", "Encryption is set up");
            await click(".nav-link[name=encryption]");
            await shows("[name=encryption_state] .text-bg-success", "Ready");
            """
        )
        self.assertEqual(self.asked, ("new_device", None))
        self.assertNotEqual(self.backend.appservice_device_id, self.device)

    def test_signing_keys_are_replaced_without_a_password(self):
        self.answers["POST", "/keys/query"] = (200, SIGNED)
        self.set_up(signature="missing", device_id=self.device)
        self.run_script(
            """
            await click("button[name=action_verify_device]");
            await click(".modal #o_matrix_signing_replace");
            await until(() => !one(".modal #o_matrix_recovery_key"));
            leads(".modal-content",
                ["o_matrix_signing_replace", "Verify Device", "Cancel"]);
            await click(submit);
            await answered();
            await shows(".o_notification", "Encryption is set up");
            """
        )
        self.assertEqual(self.asked, ("reset", None))
        self.assertEqual(self.backend.appservice_device_id, self.device)

    def test_back_to_the_access_token_means_a_login(self):
        self.set_up(device_id=self.device)
        self.run_script(
            f"""
            await click(".nav-link[name=inbound]");
            await shows(".tab-pane.active", "the worker passes on to Odoo");
            await click("button[name=action_send_with_own_token]");
            await type("o_matrix_device_user", "{BOT}");
            await type("o_matrix_device_secret", "{PASSWORD}");
            if (one(".modal #o_matrix_device_service"))
                throw new Error("Offers what is to end");
            await click(submit);
            await answered();
            await shows(".o_notification", "Encryption is set up");
            await click(".nav-link[name=inbound]");
            await until(() => one("button[name=action_send_as_appservice]"));
            """
        )
        self.assertEqual(self.asked, ("password", PASSWORD))
        self.assertFalse(self.office.sends_as_appservice)
