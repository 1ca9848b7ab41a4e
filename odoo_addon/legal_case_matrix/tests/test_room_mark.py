from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.browser import BrowserCase

from .common import LegalMatrixCase


class RoomMarkCase(LegalMatrixCase):
    def let_room_not_answer(self):
        """Let a message of the case wait, because the homeserver does not answer."""
        head = self.enqueue(room_id=self.case.matrix_room_id)
        self.env.cr.execute(
            """
            INSERT INTO matrix_lane (lane, head_id, first_failed_at, retry_at)
            SELECT lane, id, now() AT TIME ZONE 'UTC',
                now() AT TIME ZONE 'UTC' + interval '1 minute'
            FROM matrix_outbox WHERE id = %s
            """,
            [head],
        )


class TestRoomMark(RoomMarkCase):
    """A card says that the room of its case is missing or takes nothing."""

    def mark(self, **values):
        self.case.sudo().write(values)
        self.env.invalidate_all()
        return self.case.with_user(self.lawyer).matrix_room_mark

    def test_a_room_that_can_be_used_is_not_marked(self):
        self.assertFalse(self.mark())
        self.assertFalse(self.mark(matrix_room_health="ok"))
        self.assertFalse(self.mark(matrix_room_health="public"))

    def test_a_room_that_refuses_is_marked(self):
        for health in ("not_joined", "no_power", "encrypted", "replaced", "banned"):
            with self.subTest(health=health):
                self.assertEqual(self.mark(matrix_room_health=health), "failed")
        self.assertFalse(
            self.mark(matrix_room_health="encrypted", matrix_send_unencrypted=True)
        )

    def test_a_missing_room_is_marked_where_nobody_would_hear_of_the_case(self):
        self.assertEqual(self.mark(matrix_room_id=False), "missing")

        self.backend.default_room_id = "!all:example.org"
        self.assertFalse(self.mark())

    def test_what_is_not_sent_to_matrix_is_not_marked(self):
        self.assertFalse(self.mark(matrix_room_id=False, matrix_enabled=False))

        self.backend.is_active = False
        self.assertFalse(self.mark(matrix_enabled=True))

    def test_a_room_that_does_not_answer_is_marked(self):
        self.let_room_not_answer()

        self.assertEqual(self.mark(), "failed")


@tagged("post_install", "-at_install")
class TestRoomMarkScreen(BrowserCase, RoomMarkCase):
    def test_a_lawyer_sees_the_mark_on_the_card_and_others_do_not(self):
        self.let_log_in(self.lawyer)
        colleague = self.make_user("plain-lawyer", "legal_case.legal_case_group_user")
        self.let_log_in(colleague)
        self.case.sudo().write(
            {"matrix_room_health": "banned", "lawyer_ids": [(4, colleague.id)]}
        )
        cards = "/odoo/action-legal_case.legal_case_action"
        show = """
            await click(".o_switch_view.o_kanban");
            await shows(".o_kanban_record", "Ida v. Rest");
        """
        self.browse(
            cards,
            show + "await until(() => one(\"[title='Matrix room not usable']\"));",
            "matrix-lawyer",
        )
        self.browse(
            cards,
            show + 'if (one(".o_matrix_room_mark")) throw new Error("A mark");',
            "plain-lawyer",
        )

    def test_a_room_is_not_green_while_its_homeserver_does_not_answer(self):
        self.let_log_in(self.lawyer)
        self.case.sudo().matrix_room_health = "ok"
        self.case_is("text-bg-success")
        self.backend_state("down")
        self.case_is("text-bg-warning")
        self.backend_state("ok")
        self.let_room_not_answer()
        self.case_is("text-bg-warning")

    def case_is(self, color):
        """The chip that says that the room is ready has this colour."""
        self.browse(
            f"/odoo/action-legal_case.legal_case_action/{self.case.id}",
            f"""
            await click(".nav-link[name=matrix]");
            await shows("[name=matrix_room_health] .{color}", "Ready");
            """,
            "matrix-lawyer",
        )
