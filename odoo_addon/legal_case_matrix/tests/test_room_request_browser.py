from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.browser import BrowserCase

from .test_room import FORBIDDEN
from .test_room_request import RoomRequestCase


@tagged("post_install", "-at_install")
class TestRoomRequestBrowser(RoomRequestCase, BrowserCase):
    """A room that is created in the background, as the people see it who wait."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.let_log_in(cls.lawyer)
        cls.worker_seen()

    def form_of_case(self, case):
        return f"/odoo/action-legal_case.legal_case_action/{case.id}"

    def test_a_case_that_enters_a_stage_shows_how_its_room_comes(self):
        self.backend.create_rooms = False
        self.stages[1].matrix_create_room = True
        case = self.open_case(name="Comet v. Star")
        self.browse(
            self.form_of_case(case),
            """
            await click(".nav-link[name=matrix]");
            const stages = () => [...document.querySelectorAll(".o_arrow_button")];
            const named = (stage) => stage.textContent.trim() === "Court";
            (await until(() => stages().find(named), "the stage")).click();
            await shows(".alert-info", "The room of this case is being created");
            const now = await shows(".tab-pane.active button", "Create Now");
            if (!now.classList.contains("btn-secondary")) throw new Error("Not needed");
            await shows(".o_matrix_deliveries li", "Case Comet v. Star");
            """,
            "matrix-lawyer",
        )
        self.assertEqual(self.homeserver.requests, [], "Saving asks nobody")

        self.answers["POST", "/createRoom"] = FORBIDDEN
        self.work()
        self.browse(
            self.form_of_case(case),
            """
            await click(".nav-link[name=matrix]");
            const failed = await shows(".alert-warning", "could not be created");
            for (const part of ["You may not", "tries again at", "click Create Room"])
                if (!failed.textContent.includes(part)) throw new Error(part);
            await until(() => one("button[name=action_matrix_create_room]"));
            """,
            "matrix-lawyer",
        )

        self.answers["POST", "/createRoom"] = self.create_room
        self.due_now()
        self.work()
        self.browse(
            self.form_of_case(case),
            """
            await click(".nav-link[name=matrix]");
            await shows(".badge", "Ready");
            const page = one(".o_notebook .tab-pane.active").textContent;
            for (const gone of ["being created", "could not be created"])
                if (page.includes(gone)) throw new Error(gone);
            const row = (text) => until(() => {
                const rows = [...document.querySelectorAll(".o_matrix_deliveries li")];
                return rows.find((found) => found.textContent.includes(text) &&
                    found.querySelector("[data-outcome=waiting]"));
            }, text);
            await row("Case Comet v. Star (");
            await row("moved to Court");
            """,
            "matrix-lawyer",
        )
        self.assertEqual(
            self.waiting(), [("!new0", "case_summary"), ("!new0", "stage_changed")]
        )
        self.assertEqual(len(self.created), 1)

    def test_an_open_form_shows_its_new_room(self):
        case = self.open_case()
        self.answer_each_look(case, FORBIDDEN, self.create_room)
        self.browse(
            self.form_of_case(case),
            f"""
            const look = () => seen("legal.case", {case.id});
            await click(".nav-link[name=matrix]");
            await shows(".alert-info", "The room of this case is being created");
            await look();
            await shows(".alert-warning", "could not be created");
            await look();
            await shows(".badge", "Ready");
            await until(() => one("[name=matrix_room_id] input").value === "!new0");
            const page = one(".o_notebook .tab-pane.active").textContent;
            if (page.includes("could not be created")) throw new Error("It is there");
            """,
            "matrix-lawyer",
        )

    def test_a_room_is_shown_that_came_while_another_page_was_open(self):
        case = self.open_case()
        self.answer_each_look(case, self.create_room)
        self.browse(
            self.form_of_case(case),
            f"""
            await until(() => one(".o_form_view .nav-link[name=matrix]"));
            await seen("legal.case", {case.id});
            await click(".nav-link[name=matrix]");
            await shows(".badge", "Ready");
            await until(() => one("[name=matrix_room_id] input").value === "!new0");
            """,
            "matrix-lawyer",
        )

    def answer_each_look(self, case, *answers):
        """Let the scheduled action run, with the next answer, whenever the script calls
        ``seen``."""
        real, answers = type(case).get_matrix_deliveries, iter(answers)

        def look(record):
            if record.env.context.get("matrix_seen"):
                self.answers["POST", "/createRoom"] = next(answers)
                self.due_now()
                self.work()
            return real(record)

        self.patch(type(case), "get_matrix_deliveries", look)
