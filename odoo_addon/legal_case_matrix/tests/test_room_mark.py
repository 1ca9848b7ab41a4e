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

    def refuse(self, code="M_FORBIDDEN", **values):
        """Let the worker write that the room of the case refused a message."""
        text = "@bot:example.org is not in this room; invite it there, then retry"
        return self.log_row(
            backend_id=self.backend.id,
            event_type="manual",
            res_model=self.case._name,
            res_id=self.case.id,
            **{
                "room_id": self.case.matrix_room_id,
                "status": "failed",
                "error_code": code,
                "error_message": text,
                **values,
            },
        )

    def known(self):
        self.env.invalidate_all()
        case = self.case.with_user(self.lawyer)
        return case.matrix_room_state, case.matrix_room_health_note

    def test_a_room_that_has_refused_a_message_since_it_was_checked_is_marked(self):
        found = {"code": "ok", "account": "@bot:example.org"}
        checked = {"matrix_room_found": found, "matrix_room_checked_at": "2020-01-01"}
        self.assertFalse(self.mark(matrix_room_health="ok", **checked))

        self.refuse()

        self.assertEqual(self.mark(), "failed")
        state, note = self.known()
        self.assertEqual(state, "refused")
        self.assertIn("@bot:example.org is not in this room", note)
        self.refuse("org.odoo.room_replaced")
        self.assertEqual(self.known()[0], "replaced")
        # What says nothing about the room.
        self.refuse("M_TOO_LARGE")
        self.refuse("org.odoo.off")
        self.refuse(room_id="!another:example.org", status="ok", error_code=None)
        self.assertEqual(self.known()[0], "replaced")

        self.refuse(status="ok", error_code=None, error_message=None)
        ready = ("ok", "@bot:example.org is in the room and can post.")
        self.assertEqual(self.known(), ready)
        self.refuse(matrix_type="m.room.redaction")
        self.refuse(attachment_id=1)
        self.assertEqual(self.known(), ready)

        self.refuse()
        self.assertEqual(self.known()[0], "refused")
        self.assertFalse(self.mark(matrix_room_checked_at="2100-01-01"))
        self.assertEqual(self.known(), ready)

    def test_a_room_that_was_checked_before_an_update_keeps_what_was_found(self):
        """The time and the details of such a check are not known."""
        self.refuse()
        self.assertFalse(self.mark(matrix_room_health="ok"))
        self.assertEqual(
            self.known(), ("ok", "The account is in the room and can post.")
        )

        self.mark(matrix_room_health="replaced")
        self.assertIn("replaced by another one. Enter", self.known()[1])

    def test_the_refusal_of_another_room_does_not_count(self):
        self.refuse()
        self.case.matrix_room_id = "!new:example.org"

        self.assertFalse(self.mark())
        self.assertEqual(self.known(), (False, False))

    def test_many_cards_cost_no_more_queries_than_few(self):
        def queries(count):
            cases = self.env["legal.case"].create(
                [
                    {
                        "name": "Many",
                        "partner_id": self.partner.id,
                        "matrix_room_id": f"!{count}-{number}:example.org",
                    }
                    for number in range(count)
                ]
            )
            cases.sudo().matrix_room_health = "encrypted"
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            cases.with_user(self.lawyer).mapped("matrix_room_mark")
            return self.env.cr.sql_log_count - before

        queries(2)
        self.assertEqual(queries(3), queries(30))

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
            await shows("[name=matrix_room_state] .{color}", "Ready");
            """,
            "matrix-lawyer",
        )
