from odoo import Command
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.browser import BrowserCase

from .common import LegalMatrixCase

NAME = "Bartholomew-Hartmann & Sons Asset Management v. City of Linz, Building Office"
ERROR = "The account @odoo:example.org is not in this room, and nobody has invited it."
# ``fits(selector)``: nothing in these elements is cut, and the page is not wider than
# the window.
FITS = """
    const fits = (selector) => {
        const wide = document.documentElement.scrollWidth - innerWidth;
        if (wide > 0) throw new Error(`The page is wider by ${wide}`);
        const found = [...document.querySelectorAll(selector)];
        if (!found.length) throw new Error(`No ${selector}`);
        for (const element of found)
            if (element.scrollWidth > element.clientWidth + 1)
                throw new Error(`Cut: ${element.textContent.trim()}`);
    };
"""


class FitCase(BrowserCase, LegalMatrixCase):
    """A case with a long name and a message that was sent, one that failed and one that
    waits."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.let_log_in(cls.lawyer)
        cls.worker_seen()
        cls.case.name = NAME
        cls.settle()
        for text in ("It was sent", "It failed", "It waits"):
            cls.case.with_user(cls.lawyer)._matrix_enqueue("manual", text)
        sent, failed, _waiting = cls.outbox()
        cls.log(sent, status="ok")
        cls.log(failed, error_message=ERROR, error_code="M_FORBIDDEN")
        cls.case_form = f"/odoo/action-legal_case.legal_case_action/{cls.case.id}"


@tagged("post_install", "-at_install")
class TestFit(FitCase):
    browser_size = "1440x900"

    def test_a_list_cuts_neither_records_nor_reasons_nor_outcomes(self):
        self.browse(
            "/odoo/action-mail_matrix.matrix_log_action",
            FITS
            + """
            await shows(".o_data_row", "nobody has invited it");
            for (const name of
                ["date", "event_type", "case_id", "error_message", "outcome"])
                fits(`.o_data_cell[name=${name}], th[data-name=${name}]`);
            """,
            "matrix-lawyer",
        )


@tagged("post_install", "-at_install")
class TestFitSmall(FitCase):
    browser_size = "1024x768"

    def test_the_list_of_what_waits_is_as_wide_as_the_window(self):
        self.browse(
            "/odoo/action-mail_matrix.matrix_message_waiting_action",
            FITS
            + """
            await shows(".o_data_row", "It waits");
            fits(".o_list_renderer, .o_data_cell[name=record_ref]");
            """,
            "matrix-lawyer",
        )

    def test_what_a_list_is_about_has_room_in_it(self):
        """A column of the least width, 80 pixels, breaks each name in pieces."""
        self.manager.write(
            {
                self.groups_field(): [
                    Command.link(self.env.ref("legal_case.legal_case_group_user").id)
                ]
            }
        )
        self.create_hearing(judge="The presiding judge, Dr. von der Heydte")
        self.env["matrix.contact"].create(
            {
                "matrix_user_id": "@wilhelmina.hartmann:matrix.example.org",
                "name": NAME,
                "backend_id": self.backend.id,
            }
        )
        self.env["matrix.inbound"].create(
            {
                "backend_id": self.backend.id,
                "event_id": "$broken",
                "kind": "message",
                "room_id": self.case.matrix_room_id,
                "sender": "@wilhelmina.hartmann:matrix.example.org",
                "received_at": "2030-05-01 07:00:00",
                "error": "ValidationError",
            }
        )
        self.commit()
        self.browse(
            "/odoo/action-mail_matrix.matrix_message_action",
            """
            const {action} = odoo.__WOWL_DEBUG__.root.env.services;
            const list = async (name, columns) => {
                await action.doAction(name,
                    {clearBreadcrumbs: true, viewType: "list"});
                const names = columns.map((column) => `th[data-name=${column}]`);
                await until(() => one(names[0]) && one(".o_data_row"), name);
                const table = one(".o_list_renderer");
                const beyond = table.scrollWidth - table.clientWidth;
                if (beyond > 1) throw new Error(`${name} is wider by ${beyond}`);
                for (const column of names) {
                    const width = one(column).clientWidth;
                    if (width < 110) throw new Error(`${name} ${column}: ${width}`);
                }
            };
            await list("mail_matrix.matrix_message_action", ["payload", "reason"]);
            await list("mail_matrix.matrix_log_action",
                ["payload", "error_message", "outcome"]);
            await list("mail_matrix.matrix_contact_action",
                ["matrix_user_id", "name"]);
            await list("mail_matrix.matrix_inbound_action", ["sender", "record_ref"]);
            await list("mail_matrix.matrix_worker_action", ["hostname", "name"]);
            await list("legal_case.legal_case_action", ["partner_id", "name"]);
            await list("legal_case.legal_hearing_action",
                ["location", "judge", "case_id", "name"]);
            """,
            "matrix-manager",
        )


@tagged("post_install", "-at_install")
class TestFitPhone(FitCase):
    browser_size = "390x844"
    touch_enabled = True

    def test_the_page_matrix_can_be_used_on_a_phone(self):
        self.browse(
            self.case_form,
            FITS
            + """
            await click(".nav-link[name=matrix]");
            await shows(".o_matrix_deliveries li", "It failed");
            fits(".o_matrix_deliveries li > *, .o_notebook .tab-pane.active button");
            const boxes = [...document.querySelectorAll(".tab-pane.active button")]
                .map((button) => button.getBoundingClientRect())
                .filter((box) => box.height);
            boxes.forEach((one, index) => boxes.slice(index + 1).forEach((other) => {
                if (one.left < other.right && other.left < one.right &&
                    one.top < other.bottom && other.top < one.bottom)
                    throw new Error("Buttons touch");
            }));
            for (const text of document.querySelectorAll("li > .col-12"))
                if (text.clientWidth < 250) throw new Error("A narrow column");
            await enter("matrix_message", "From the phone");
            await click("button[name=action_matrix_send_message]");
            await click(".nav-link[name=matrix]");
            await shows(".o_matrix_deliveries li", "From the phone");
            """,
            "matrix-lawyer",
        )

    def test_messages_and_logs_are_cards_on_a_phone(self):
        self.browse(
            "/odoo/action-mail_matrix.matrix_message_action",
            FITS
            + """
            const {action} = odoo.__WOWL_DEBUG__.root.env.services;
            const cards = async (...texts) => {
                for (const text of texts) await shows(".o_kanban_record", text);
                fits(".o_kanban_record:not(.o_kanban_ghost)");
            };
            await cards("It was sent", "nobody has invited it", "It waits");
            await action.doAction("mail_matrix.matrix_log_action");
            await until(() => one(".o_kanban_renderer")?.textContent
                .includes("It waits") === false, "Logs");
            await cards("It was sent", "nobody has invited it");
            """,
            "matrix-lawyer",
        )

    def test_what_waits_is_cards_on_a_phone(self):
        self.browse(
            "/odoo/action-mail_matrix.matrix_lane_action",
            FITS
            + """
            const room = await shows(".o_kanban_record", "!case:example.org");
            fits(".o_kanban_record:not(.o_kanban_ghost)");
            room.click();
            await shows(".o_kanban_record", "It waits");
            fits(".o_kanban_record:not(.o_kanban_ghost)");
            """,
            "matrix-manager",
        )
