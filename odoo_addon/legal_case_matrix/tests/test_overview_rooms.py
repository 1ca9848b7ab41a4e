from ast import literal_eval

from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.browser import BrowserCase

from .common import LegalMatrixCase
from .test_room import FORBIDDEN
from .test_room_request import RoomRequestCase

HEAD = ["legal_case.legal_case_group_manager", "mail_matrix.group_matrix_manager"]


@tagged("post_install", "-at_install")
class TestOverviewRooms(RoomRequestCase):
    """Messages that wait for a room are waiting messages."""

    def overview(self, user=None):
        self.env.invalidate_all()
        logs = self.env["matrix.log"].with_user(user or self.manager)
        return logs.get_overview()

    def setUp(self):
        super().setUp()
        self.head = self.make_user("matrix-head", *HEAD)
        self.clear_outbox()
        self.env["matrix.early.message"].sudo().search([]).unlink()
        self.requests.search([]).unlink()

    def test_what_waits_for_a_room_counts_as_waiting(self):
        case = self.open_case()
        self.env["matrix.early.message"].sudo().search(
            []
        ).queued_at = "2026-01-02 08:00:00"
        case._matrix_enqueue("manual", "Hello")
        self.commit()

        overview = self.overview()

        self.assertEqual(overview["waiting"], "2")
        self.assertEqual(overview["oldest_queued_at"], "2026-01-02 08:00:00")
        self.assertEqual(
            [(group["event"], group["count"]) for group in overview["waiting_by"]],
            [("Case summary", "1"), ("Manual message", "1")],
        )
        self.assertEqual(overview["roomless"], [], "Nothing has gone wrong")

    def test_the_tile_opens_what_it_counts(self):
        self.open_case()._matrix_enqueue("manual", "For a room to come")
        linked = self.create_case()
        linked._matrix_enqueue("manual", "For a room that is there")
        linked._matrix_enqueue("manual", "Held")
        self.log(self.outbox()[-1], is_final=False)
        self.commit()
        action = self.env.ref("mail_matrix.matrix_message_waiting_action").sudo()
        domain = literal_eval(action.domain)

        for user in (self.manager, self.head):
            messages = self.env["matrix.message"].with_user(user).search(domain)
            self.assertEqual(str(len(messages)), self.overview(user)["waiting"])
            self.assertIn("For a room to come", messages.mapped("payload"))
            self.assertIn("For a room that is there", messages.mapped("payload"))

    def test_records_whose_room_cannot_be_created_are_named(self):
        self.answers["POST", "/createRoom"] = FORBIDDEN
        cases = self.open_case() | self.open_case()
        self.work()

        [trouble] = self.overview()["roomless"]
        self.assertEqual(trouble["res_ids"], [], "A manager who reads no cases")

        [trouble] = self.overview(self.head)["roomless"]
        self.assertIn("2 records wait for their room: ", trouble["text"])
        self.assertIn("You may not", trouble["text"])
        self.assertEqual(trouble["res_model"], "legal.case")
        self.assertEqual(sorted(trouble["res_ids"]), cases.ids)

        cases[1].sudo().unlink()
        self.commit()
        self.work()
        [trouble] = self.overview()["roomless"]
        self.assertIn("One record waits for its room: ", trouble["text"])

    def test_nobody_else_reads_it(self):
        self.answers["POST", "/createRoom"] = FORBIDDEN
        self.open_case()
        self.work()

        self.assertIs(self.overview(self.lawyer)["roomless"], False)
        company = self.env["res.company"].create({"name": "Elsewhere"})
        self.backend.company_id = company
        overview = self.overview()
        self.assertEqual((overview["waiting"], overview["roomless"]), ("0", []))


@tagged("post_install", "-at_install")
class TestOverviewRoomsBrowser(BrowserCase, LegalMatrixCase):
    def test_a_click_opens_the_records(self):
        head = self.make_user("matrix-head", *HEAD)
        self.let_log_in(head)
        self.backend.create_rooms = True
        self.settle()
        self.create_case(name="Moon v. Sun", matrix_room_id=False)
        self.commit()
        self.env["matrix.room.request"].search([]).note = "You may not"
        self.browse(
            "/odoo/action-mail_matrix.matrix_overview_action",
            """
            await shows(".o_matrix_roomless", "You may not");
            await click(".o_matrix_roomless a");
            await shows(".o_data_row", "Moon v. Sun");
            await click(".o_back_button a");
            (await shows(".o_matrix_tile", "Messages waiting")).click();
            await shows(".o_data_row [name=payload]", "Case Moon v. Sun");
            """,
            "matrix-head",
        )
