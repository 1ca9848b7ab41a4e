from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.browser import BrowserCase
from odoo.addons.mail_matrix.tests.homeserver import BOT, TOKEN, Homeserver

from .common import ROOM, LegalMatrixCase


@tagged("post_install", "-at_install")
class TestBrowser(BrowserCase, LegalMatrixCase):
    """What a law office does, on the screens where it does it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.let_log_in(cls.lawyer)
        cls.worker_seen()

    def setUp(self):
        super().setUp()
        self.homeserver = Homeserver()
        self.addCleanup(self.homeserver.stop)
        self.homeserver.answers["GET", "/joined_rooms"] = (
            200,
            {"joined_rooms": [ROOM]},
        )

    def form_of_case(self):
        return f"/odoo/action-legal_case.legal_case_action/{self.case.id}"

    def test_a_manager_connects_a_homeserver_and_sees_the_green_check(self):
        self.backend.is_active = False
        self.browse(
            "/odoo/action-mail_matrix.matrix_backend_action/new",
            f"""
            await enter("name", "Law Office");
            await enter("homeserver_url", "{self.homeserver.url}");
            await enter("personal_access_token", "{TOKEN}");
            // Not saved yet: testing saves.
            await click("button[name=action_test_connection]");
            const said = await shows(".o_notification", "Connected to Matrix");
            if (!said.querySelector(".bg-success")) throw new Error("It is not green");
            await shows(".badge.text-bg-success", "Connected");
            for (const found of ["{BOT}", "Synapse 1.163.2", "ODOO"])
                await shows(".o_form_view .o_field_char", found);
            """,
            "matrix-manager",
        )
        self.assertTrue(self.homeserver.tokens)

    def test_a_lawyer_links_a_room_and_follows_what_is_posted(self):
        self.backend.write(
            {"homeserver_url": self.homeserver.url, "personal_access_token": TOKEN}
        )
        self.case.matrix_room_id = False
        self.commit()
        self.clear_outbox()
        self.send_once_seen(self.case)
        self.browse(
            self.form_of_case(),
            f"""
            const outcome = (name, text) => until(() =>
                [...document.querySelectorAll(".o_matrix_deliveries li")].find((row) =>
                    row.textContent.includes(text) &&
                    row.querySelector(`[data-outcome=${{name}}]`)), name + text);
            await click(".nav-link[name=matrix]");
            await shows(".o_matrix_deliveries [aria-live=polite]",
                "No messages for this record");
            await enter("matrix_room_id", "{ROOM}");
            await click("button[name=action_matrix_check_room]");
            await shows(".o_notification", "Room ready");
            await shows(".badge", "Ready");
            await enter("matrix_message", "Hello from Odoo");
            const text = one("[name=matrix_message] textarea");
            const form = one(".o_form_view");
            text.focus();
            text.dispatchEvent(new KeyboardEvent("keydown",
                {{key: "Enter", ctrlKey: true, bubbles: true}}));
            await until(() => one(".o_form_view") && one(".o_form_view") !== form);
            await click(".nav-link[name=matrix]");
            await outcome("waiting", "Hello from Odoo");
            await seen("legal.case", {self.case.id});
            await outcome("ok", "Hello from Odoo");
            // Saved in place: the form is not loaded again.
            const stages = () => [...document.querySelectorAll(".o_arrow_button")];
            const named = (stage) => stage.textContent.trim() === "Court";
            (await until(() => stages().find(named))).click();
            await outcome("waiting", "moved to Court");
            await seen("legal.case", {self.case.id});
            await outcome("ok", "moved to Court");
            await click(".o_matrix_deliveries button[name=matrix_open]");
            await shows(".o_form_view [name=payload]", "moved to Court");
            """,
            "matrix-lawyer",
        )
        self.assertEqual(self.bodies(), [])
        self.assertEqual(self.case.matrix_room_id, ROOM)

    def test_the_button_of_a_case_counts_and_opens_all_its_messages(self):
        for text in ("It was sent", "It failed", "It waits"):
            self.case._matrix_enqueue("manual", text)
        sent, failed, _waiting = self.outbox()
        self.log(sent, status="ok")
        self.log(failed, error_message="Not in this room")
        self.browse(
            self.form_of_case(),
            """
            const count = (number) => shows(
                "button[name=action_view_matrix_messages] .o_stat_value", number);
            await count("3");
            await click(".nav-link[name=matrix]");
            await click(".o_matrix_deliveries button[name=matrix_retry]");
            await count("4");
            if (one("button[name=matrix_retry]")) throw new Error("Retry again?");
            (await shows(".o_arrow_button", "Court")).click();
            // The move is a message once the case is saved.
            await count("5");
            await click("button[name=action_view_matrix_messages]");
            const row = (text, outcome) => until(() =>
                [...document.querySelectorAll(".o_data_row")].find((row) =>
                    row.textContent.includes(text) &&
                    row.querySelector("[name=outcome]").textContent === outcome), text);
            await row("It was sent", "Sent");
            await row("moved to", "Waiting");
            await row("Not in this room", "Failed");
            (await row("It waits", "Waiting")).querySelector("[name=payload]").click();
            await shows(".o_form_view [name=payload]", "It waits");
            await shows(".o_form_view .badge", "Waiting");
            await click("button[name=action_open_record]");
            await until(() => one("button[name=action_view_matrix_messages]"));
            """,
            "matrix-lawyer",
        )
        # What the address bar has: a reload opens the message again.
        row = self.env["matrix.message"].search([("payload", "=", "It waits")])
        self.browse(
            f"/odoo/{row._name}/{row.id}",
            'await shows(".o_form_view [name=payload]", "It waits");',
            "matrix-lawyer",
        )

    def test_a_new_case_offers_its_room_before_it_is_saved(self):
        self.backend.write(
            {"homeserver_url": self.homeserver.url, "personal_access_token": TOKEN}
        )
        answers = self.homeserver.answers
        answers["GET", "/joined_rooms"] = (200, {"joined_rooms": ["!new"]})
        answers["POST", "/createRoom"] = (200, {"room_id": "!new"})
        answers["GET", "/rooms/!new/joined_members"] = (200, {"joined": {BOT: {}}})
        answers["GET", "/rooms/!new/members"] = (200, {"chunk": []})
        self.browse(
            "/odoo/action-legal_case.legal_case_action/new",
            f"""
            await enter("name", "Brand new");
            const client = one("[name=partner_id] input");
            client.value = "{self.partner.name}";
            client.dispatchEvent(new Event("input", {{bubbles: true}}));
            (await shows(".o-autocomplete--dropdown-item", "{self.partner.name}"))
                .querySelector("a").click();
            await click(".nav-link[name=matrix]");
            await shows(".o_form_view", "A new case has no room yet");
            await shows(".o_form_view", "The case is saved when you send");
            (await shows("button", "Save and Create Room")).click();
            await shows(".o_notification", "Room created");
            await shows(".badge.text-bg-success", "Ready");
            """,
            "matrix-lawyer",
        )
        case = self.env["legal.case"].search([("name", "=", "Brand new")])
        self.assertEqual(case.matrix_room_id, "!new")

    def test_a_lawyer_finds_an_encrypted_room_agrees_and_mentions(self):
        colleague = self.make_user(
            "colleague",
            "legal_case.legal_case_group_user",
            matrix_user_id="@colleague:example.org",
        )
        second = self.make_user(
            "second",
            "legal_case.legal_case_group_user",
            matrix_user_id="@second:example.org",
        )
        self.case.lawyer_ids = colleague | second
        self.backend.write(
            {"homeserver_url": self.homeserver.url, "personal_access_token": TOKEN}
        )
        found = "!secret:example.org"
        answers = self.homeserver.answers
        answers["GET", "/joined_rooms"] = (200, {"joined_rooms": [ROOM, found]})
        answers["GET", "/directory/room/#ida:example.org"] = (200, {"room_id": found})
        answers["GET", f"/rooms/{found}/state/m.room.encryption/"] = (
            200,
            {"algorithm": "m.megolm.v1.aes-sha2"},
        )
        self.browse(
            self.form_of_case(),
            """
            await click(".nav-link[name=matrix]");
            await enter("matrix_room_id", "#ida:example.org");
            await shows(".o_form_editable", "Messages go to the room above");
            await click("button[name=action_matrix_resolve_alias]");
            await shows(".badge.text-bg-danger", "Encrypted");
            if (one("button[name=action_matrix_resolve_alias]"))
                throw new Error("The room was found, and is still to be found");
            await click(".nav-link[name=matrix]");
            await click("[name=matrix_send_unencrypted] input");
            await shows(".badge.text-bg-warning", "Encrypted");
            const text = await until(() => one("[name=matrix_message] textarea"));
            text.focus();
            const type = (value) => {
                text.value = value;
                text.dispatchEvent(new InputEvent("input", {bubbles: true}));
            };
            const hit = (key) =>
                text.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
            const options = () =>
                document.querySelectorAll(".o_matrix_people [role=option]");
            const chosen = (index) => until(() =>
                options()[index]?.ariaSelected === "true" &&
                text.getAttribute("aria-activedescendant") === options()[index].id,
                `option ${index}`);
            type("@");
            await chosen(0);
            if (options().length < 2) throw new Error("Not everybody is offered");
            hit("ArrowDown");
            await chosen(1);
            hit("ArrowUp");
            await chosen(0);
            hit("Escape");
            await until(() => !options().length, "no list");
            if (text.value !== "@" || text.hasAttribute("aria-activedescendant"))
                throw new Error("Escape did more than close the list");
            type("@col");
            await shows(".o_matrix_people [role=option]", "@colleague:example.org");
            hit("Enter");
            await until(() => text.value === "@colleague ", "the name");
            await until(() => !one(".o_matrix_people"), "the end of the list");
            await enter("matrix_message", "@colleague Please look");
            if (one("[name=matrix_message_fullness]"))
                throw new Error("A short text is counted");
            await click("button[name=action_matrix_compose]");
            await shows(".modal [name=people_ids] label", "colleague");
            await shows(".modal [name=preview] a", "@colleague");
            await click(".modal [name=people_ids] input");
            await click(".modal button[name=action_send]");
            await shows(".o_matrix_deliveries", "@colleague Please look");
            await until(() => one("[name=matrix_message] textarea").value === "");
            """,
            "matrix-lawyer",
        )
        (row,) = self.outbox()
        self.assertEqual(row["room_id"], found)
        self.assertEqual(
            row["content"]["m.mentions"], {"user_ids": ["@colleague:example.org"]}
        )

    def test_who_has_nothing_to_do_with_matrix_sees_no_trace_of_it(self):
        outsider = self.make_user(
            "matrix-outsider", "legal_case.legal_case_group_manager"
        )
        self.let_log_in(outsider)
        self.browse(
            self.form_of_case(),
            """
            await until(() => one(".o_form_view .nav-link[name=description]"));
            if (one(".nav-link[name=matrix]")) throw new Error("The page shows");
            await click(".o_navbar_apps_menu button");
            await until(() => one(".o-dropdown--menu .o_app"));
            for (const app of document.querySelectorAll(".o_app"))
                if (app.textContent.includes("Matrix")) throw new Error("It shows");
            """,
            "matrix-outsider",
        )

    def test_a_homeserver_that_is_down_is_said_in_words_at_every_button(self):
        self.backend.write(
            {"homeserver_url": self.homeserver.url, "personal_access_token": TOKEN}
        )
        self.homeserver.stop()
        self.case.matrix_room_alias = "#ida:example.org"
        roomless = self.create_case(matrix_room_id=False)
        self.commit()
        for case, buttons in (
            (self.case, ["check_room", "invite_people", "resolve_alias"]),
            (roomless, ["create_room"]),
        ):
            self.browse(
                f"/odoo/action-legal_case.legal_case_action/{case.id}",
                f"""
                await click(".nav-link[name=matrix]");
                for (const name of {buttons}) {{
                    await click(`button[name=action_matrix_${{name}}]`);
                    const said = await shows(".modal", "Cannot connect to");
                    if (said.textContent.includes("Oops")) throw new Error("Oops");
                    await click(".modal-footer .btn-primary");
                    await until(() => !one(".modal"), "the end of the dialog");
                }}
                """,
                "matrix-lawyer",
            )
