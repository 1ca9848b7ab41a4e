from odoo import Command
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.browser import BrowserCase


@tagged("post_install", "-at_install")
class TestBrowser(BrowserCase):
    """The screens in a real browser, as the roles that use them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ticket = cls.env["test.matrix.ticket"].create(
            {"name": "Leaking tap", "matrix_room_id": "!ticket:example.org"}
        )
        cls.commit()
        cls.clear_outbox()

    def test_a_sent_message_is_followed_on_the_form_without_leaving_it(self):
        form = self.form_of(self.ticket, "test_mail_matrix.test_matrix_ticket_action")
        self.send_once_seen(self.ticket)
        self.browse(
            form,
            f"""
            await press("button[name=action_matrix_send_test]");
            await shows(".o_matrix_deliveries", "Hello from Odoo");
            await until(() => one(".o_matrix_deliveries [data-outcome=waiting]"));
            await seen("test.matrix.ticket", {self.ticket.id});
            await until(() => one(".o_matrix_deliveries [data-outcome=ok]"));
            """,
            "matrix-user",
        )

    def test_a_closed_dialog_gives_the_focus_back_to_its_button(self):
        form = self.form_of(self.ticket, "test_mail_matrix.test_matrix_ticket_action")
        self.browse(
            form,
            """
            const opener = await until(() => one("button[name=action_matrix_compose]"));
            const compose = async () => {
                opener.focus();
                opener.click();
                const text = await until(() => one(".modal [name=body] textarea"));
                await until(() => document.activeElement === text, "the cursor");
                return text;
            };
            const isBack = () => until(
                () => !one(".modal") && document.activeElement === opener,
                "the focus on the button");
            const text = await compose();
            text.dispatchEvent(
                new KeyboardEvent("keydown", {key: "Escape", bubbles: true}));
            await isBack();
            await compose();
            await enter("body", "Good morning");
            await click(".modal button[name=action_send]");
            await isBack();
            """,
            "matrix-user",
        )
        self.assertEqual(self.bodies(), ["Good morning"])

    def test_ctrl_enter_sends_a_direct_message(self):
        contact = self.env["matrix.contact"].create(
            {"matrix_user_id": "@anna:example.org", "backend_id": self.backend.id}
        )
        self.browse(
            self.form_of(contact, "mail_matrix.matrix_contact_action"),
            """
            await click("button[name=action_start_dm]");
            const text = await until(() => one(".modal [name=body] textarea"));
            await enter("body", "Good morning");
            text.focus();
            text.dispatchEvent(new KeyboardEvent("keydown",
                {key: "Enter", ctrlKey: true, bubbles: true}));
            await shows(".o_matrix_deliveries", "Good morning");
            """,
            "matrix-user",
        )
        self.assertEqual(self.bodies(), ["Good morning"])

    def test_a_manager_filters_failures_and_retries_one(self):
        self.ticket._matrix_enqueue("manual", "Please retry me")
        self.log(self.outbox()[0], error_message="Not in this room")
        self.ticket._matrix_enqueue("manual", "All went well")
        self.log(self.outbox()[0], status="ok")
        self.browse(
            "/odoo/action-mail_matrix.matrix_log_action",
            """
            await shows(".o_data_row", "All went well");
            await click(".o_searchview_dropdown_toggler");
            (await shows(".o_filter_menu .o_menu_item", "Failed")).click();
            await until(() => document.querySelectorAll(".o_data_row").length === 1);
            await click(".o_data_row button[name=action_retry]");
            await until(() => one(".o_notification"));
            await until(() => one(".o_data_row") &&
                !one(".o_data_row button[name=action_retry]"), "no Retry");
            await click(".o_data_row [name=payload]");
            await click("button[name=action_view_retried]");
            await shows(".o_data_row", "Please retry me");
            """,
            "matrix-manager",
        )
        self.assertEqual(self.bodies(), ["Please retry me"])

    def test_the_graph_of_logs_has_the_colours_of_the_outcomes(self):
        for text, outcome in (
            ("It failed", {"error_message": "Not in this room"}),
            ("It was sent", {"status": "ok"}),
        ):
            self.ticket._matrix_enqueue("manual", text)
            self.log(self.outbox()[0], **outcome)
        self.browse(
            "/odoo/action-mail_matrix.matrix_log_action",
            """
            await shows(".o_data_row", "It failed");
            await click(".o_switch_view.o_graph");
            const canvas = await until(() => one(".o_graph_renderer canvas"));
            const {data} = await until(() => window.Chart?.getChart(canvas), "bars");
            const colours = Object.fromEntries(
                data.datasets.map((bar) => [bar.label, bar.backgroundColor]));
            if (colours.Sent !== "#28a745" || colours.Failed !== "#dc3545")
                throw new Error(JSON.stringify(colours));
            """,
            "matrix-manager",
        )

    def test_what_waits_names_its_record_and_the_reason_and_opens(self):
        self.ticket._matrix_enqueue("manual", "Please wait")
        (row,) = self.outbox()
        self.env.cr.execute(
            """
            INSERT INTO matrix_lane
                (lane, head_id, attempts, first_failed_at, retry_at, last_error)
            VALUES (%s, %s, 1, now() AT TIME ZONE 'UTC',
                now() AT TIME ZONE 'UTC' + interval '1 minute', '502 Bad Gateway')
            """,
            [row["lane"], row["id"]],
        )
        self.browse(
            "/odoo/action-mail_matrix.matrix_lane_action",
            """
            const row = await shows(".o_data_row", "Leaking tap");
            if (!row.textContent.includes("502 Bad Gateway"))
                throw new Error(`No reason: ${row.textContent}`);
            if (!row.querySelector("[name=retry_at]").textContent.trim())
                throw new Error("When is it tried again?");
            row.querySelector("[name=target]").click();
            await shows(".o_data_row", "Please wait");
            """,
            "matrix-manager",
        )

    def test_the_overview_warns_while_no_worker_runs(self):
        self.env.cr.execute("DELETE FROM matrix_worker")
        self.ticket._matrix_enqueue("manual", "Hello")
        self.log(self.outbox()[0], status="ok")
        self.env.cr.execute(
            "UPDATE matrix_log SET queued_at = date - interval '9 seconds'"
        )
        self.ticket._matrix_enqueue("manual", "Still here")
        self.browse(
            "/odoo/action-mail_matrix.matrix_overview_action",
            """
            await until(() => one(".o_graph_renderer canvas"));
            await shows(".alert-danger", "No worker was seen");
            await shows(".o_matrix_waiting_by tr", "Manual message");
            await shows(".o_matrix_week", "In the last 7 days");
            await shows(".o_matrix_slow_rooms tr", "9 seconds");
            (await shows(".o_matrix_slow_rooms a", "Leaking tap")).click();
            await until(() => one("button[name=action_matrix_send_test]"));
            """,
            "matrix-manager",
        )

    def test_nothing_covers_the_first_steps(self):
        self.env["matrix.backend"].search([]).unlink()
        self.browse(
            "/odoo/action-mail_matrix.matrix_overview_action",
            """
            const {action} = odoo.__WOWL_DEBUG__.root.env.services;
            const free = async (...selectors) => {
                const shown = () => [...document.querySelectorAll(".o_nocontent_help")]
                    .find((found) => found.checkVisibility());
                for (const selector of selectors) {
                    const box = (await until(() => one(selector), selector))
                        .getBoundingClientRect();
                    const help = (await until(shown, "help")).getBoundingClientRect();
                    if (help.top < box.bottom && box.top < help.bottom)
                        throw new Error(`The help covers ${selector}`);
                }
            };
            await free(".o_graph_view .o_matrix_setup", ".o_matrix_tile");
            await action.doAction("mail_matrix.matrix_backend_action");
            await free(".o_list_view .o_matrix_setup", ".o_list_table thead");
            """,
            "matrix-manager",
        )

    def test_a_second_backend_starts_inactive(self):
        self.backend.company_id = self.manager.company_id
        self.browse(
            "/odoo/action-mail_matrix.matrix_backend_action/new",
            """
            await enter("name", "Second");
            await enter("homeserver_url", "https://second.example.org");
            await click(".o_form_button_save");
            await shows(".ribbon", "Inactive");
            """,
            "matrix-manager",
        )
        backend = self.env["matrix.backend"].search([("name", "=", "Second")])
        self.assertFalse(backend.is_active)

    def test_a_manager_sets_up_a_backend(self):
        self.backend.unlink()
        self.browse(
            "/odoo/action-mail_matrix.matrix_backend_action/new",
            """
            await enter("name", "Law Office");
            await enter("homeserver_url", "http://127.0.0.1:1");
            await enter("personal_access_token", "syt_browser_token");
            await click(".o_form_button_save");
            await shows(".alert-warning", "stored unencrypted");
            await until(() => one("[name=personal_access_token] input").value === "");
            if (document.body.innerHTML.includes("syt_browser_token"))
                throw new Error("The token is on the page");
            await click("button[name=action_test_connection]");
            await until(() => one(".o_notification_bar.bg-danger"));
            """,
            "matrix-manager",
        )
        backend = self.env["matrix.backend"].search([("name", "=", "Law Office")])
        self.assertEqual(backend._token(), "syt_browser_token")

    def test_another_address_asks_for_the_token_again(self):
        self.backend.personal_access_token = "syt_browser_token"
        self.browse(
            f"/odoo/action-mail_matrix.matrix_backend_action/{self.backend.id}",
            """
            await shows(".text-body-secondary", "Enter another token to replace it");
            await enter("homeserver_url", "https://other.example.org");
            await shows(".o_notification", "Enter the access token again");
            await click(".o_form_button_save");
            const hints = () => [
                ...document.querySelectorAll(".text-body-secondary span")];
            await until(() => hints().find(
                (span) => span.textContent.includes("No token stored yet") &&
                    span.offsetParent));
            """,
            "matrix-manager",
        )
        self.assertEqual(self.backend.token_state, "none")

    def test_a_manager_previews_an_event_of_another_model(self):
        self.env["test.matrix.visit"].create({"ticket_id": self.ticket.id})
        self.commit()
        self.browse(
            f"/odoo/action-mail_matrix.matrix_backend_action/{self.backend.id}",
            """
            (await shows(".o_form_statusbar button", "Preview Texts")).click();
            const event = await until(() =>
                one(".modal [name=event_type] :is(select, input)"));
            if (event.matches("select")) {
                event.value = JSON.stringify("visit_created");
                event.dispatchEvent(new Event("change", {bubbles: true}));
            } else {
                // Odoo 19 has a menu of its own for this.
                event.click();
                (await shows(".o_select_menu_item", "Visit created")).click();
            }
            await shows(".modal [name=body]", "Visit of Leaking tap");
            await click(".modal footer .btn-primary");
            await until(() => !one(".modal"));
            """,
            "matrix-manager",
        )

    def test_a_plain_user_does_not_see_what_he_must_not(self):
        self.ticket._matrix_enqueue("manual", "For all to read")
        self.log(self.outbox()[0], error_message="Not in this room")
        company = self.env["res.company"].create({"name": "Branch"})
        hidden = self.ticket.copy(
            {"company_id": company.id, "matrix_room_id": "!hidden", "name": "Hidden"}
        )
        self.manager.company_ids = [Command.link(company.id)]
        self.commit()
        self.clear_outbox()
        for ticket in (self.ticket, hidden):
            ticket._matrix_enqueue("manual", f"About {ticket.name}")
            self.log(self.outbox()[0])
        self.browse(
            "/odoo/action-mail_matrix.matrix_log_action",
            """
            await shows(".o_data_row", "About Leaking tap");
            if (document.body.textContent.includes("About Hidden"))
                throw new Error("A delivery of another company is shown");
            if (one("button[name=action_retry]"))
                throw new Error("A plain user is offered to retry");
            const menus = one(".o_main_navbar").textContent;
            for (const name of ["Backends", "Overview", "Waiting", "Configuration"])
                if (menus.includes(name)) throw new Error(`The menu shows ${name}`);
            """,
            "matrix-user",
        )
