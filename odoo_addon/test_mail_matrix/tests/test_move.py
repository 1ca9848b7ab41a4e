from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import TicketCase


@tagged("post_install", "-at_install")
class TestMove(TicketCase):
    """The backend of a company is replaced while messages wait in the old one."""

    def setUp(self):
        super().setUp()
        for text in ("One", "Two"):
            self.ticket._matrix_enqueue("manual", text)
        self.backend.is_active = False
        self.new = self.backend.copy({"name": "New Office", "is_active": True})
        self.ticket._matrix_enqueue("manual", "Three")
        self.old = self.backend.with_user(self.manager)

    def lanes(self):
        return [row["lane"].partition("/")[0] for row in self.outbox()]

    def lease(self, backend, until, epoch=3):
        self.env.cr.execute(
            """
            INSERT INTO matrix_lane (lane, owner, epoch, lease_until)
            VALUES (%s, 'w', %s, now() AT TIME ZONE 'UTC' + %s::interval)
            """,
            [f"{backend.id}/{self.ticket.matrix_room_id}", epoch, until],
        )

    def test_what_waits_goes_to_the_new_backend_before_what_came_later(self):
        before = self.outbox()
        said = self.old.action_move_waiting()["params"]["message"]

        self.assertEqual(said, "Messages moved: 2.")
        self.assertEqual(self.lanes(), [str(self.new.id)] * 3)
        self.assertEqual(self.bodies(), ["One", "Two", "Three"])
        for row, was in zip(self.outbox(), before, strict=True):
            self.assertEqual(row["txn_id"], was["txn_id"])
            self.assertEqual(row["id"], was["id"])
        self.assertFalse(self.old.is_stranded)

    def test_a_room_that_a_worker_has_leased_stays_until_it_is_released(self):
        for backend in (self.backend, self.new):
            self.lease(backend, "30 s")
            kind = self.old.action_move_waiting()["params"]["type"]

            self.assertEqual(kind, "warning")
            self.assertEqual(self.lanes().count(str(self.backend.id)), 2)
            self.env.cr.execute("DELETE FROM matrix_lane")

        self.old.action_move_waiting()
        self.assertEqual(self.lanes(), [str(self.new.id)] * 3)

    def test_a_worker_that_comes_back_late_is_fenced(self):
        for backend in (self.backend, self.new):
            self.lease(backend, "-1 s")

        self.old.action_move_waiting()

        self.env.cr.execute("SELECT epoch, lease_until FROM matrix_lane")
        self.assertEqual(self.env.cr.fetchall(), [(4, None)] * 2)

    def configured(self):
        self.env.cr.execute(
            "SELECT config_version, configured_at FROM matrix_backend WHERE id = %s",
            [self.new.id],
        )
        return self.env.cr.fetchone()

    def test_the_worker_reads_the_new_backend_again_and_searches_before_it_sends(self):
        version, _at = self.configured()

        self.old.action_move_waiting()

        moved_at = self.env.cr.now()
        self.assertEqual(self.configured(), (version + 1, moved_at))
        self.assertTrue(all(row["queued_at"] <= moved_at for row in self.outbox()))
        self.env.cr.execute(
            "SELECT state, config_version FROM matrix_backend_status "
            "WHERE backend_id = %s",
            [self.new.id],
        )
        # A worker that has read the former configuration takes no lane with it.
        self.assertEqual(self.env.cr.fetchall(), [("down", version)])
        self.assertFalse(self.new.with_user(self.manager).state)

    def test_a_pause_of_the_new_backend_remains(self):
        self.backend_state("paused", self.new, reason="Holiday")

        self.old.action_move_waiting()

        self.assertEqual(self.new.with_user(self.manager).state, "paused")

    def test_what_stays_changes_nothing_of_the_new_backend(self):
        before = self.configured()
        self.lease(self.backend, "30 s")

        said = self.old.action_move_waiting()["params"]["message"]

        self.assertTrue(said.startswith("Not moved: 2. A worker is sending"), said)
        self.assertEqual(self.configured(), before)

    def lane_of(self, backend):
        self.env.cr.execute(
            "SELECT head_id, attempts, first_failed_at, last_error, retry_at "
            "FROM matrix_lane WHERE lane = %s",
            [f"{backend.id}/{self.ticket.matrix_room_id}"],
        )
        return self.env.cr.fetchone()

    def hold(self, backend, head_id):
        self.lease(backend, "-1 s")
        self.env.cr.execute(
            """
            UPDATE matrix_lane SET head_id = %s, attempts = 2, last_error = 'No',
                first_failed_at = now() AT TIME ZONE 'UTC' - interval '1 h',
                retry_at = now() AT TIME ZONE 'UTC' + interval '1 h'
            WHERE lane LIKE %s
            """,
            [head_id, f"{backend.id}/%"],
        )

    def test_a_first_message_that_failed_is_not_logged_as_failed_again(self):
        head = self.outbox()[0]["id"]
        self.hold(self.backend, head)

        self.old.action_move_waiting()

        now = self.env.cr.now()
        self.assertEqual(self.lane_of(self.new), (head, 2, now, "No", None))
        self.assertEqual(self.lane_of(self.backend), (None, 0, None, None, None))

    def test_a_message_that_holds_up_the_new_backend_keeps_its_own_history(self):
        first, _second, third = (row["id"] for row in self.outbox())
        self.hold(self.backend, first)
        self.hold(self.new, third)
        before = self.lane_of(self.new)

        self.old.action_move_waiting()

        self.assertEqual(self.lane_of(self.new), before)

    def test_a_moved_message_of_the_chatter_can_still_be_edited(self):
        self.clear_outbox()
        self.new.is_active, self.backend.is_active = False, True
        self.ticket.matrix_mirror_chatter = True
        comment = self.ticket.message_post(
            body="First", message_type="comment", subtype_xmlid="mail.mt_comment"
        )
        self.commit()
        self.backend.is_active, self.new.is_active = False, True
        self.old.action_move_waiting()

        comment.body = "Better"
        self.commit()

        (row,) = self.outbox()
        self.assertIn("Better", row["content"]["body"])
        self.assertEqual(row["backend_id"], self.new.id)

    def test_each_record_moves_to_the_backend_of_its_company(self):
        branch = self.env["res.company"].create({"name": "Branch"})
        theirs = self.new.copy(
            {"name": "Branch", "is_active": True, "company_id": branch.id}
        )
        other = self.ticket.create(
            {"name": "B", "company_id": branch.id, "matrix_room_id": "!branch"}
        )
        self.enqueue(res_model=other._name, res_id=other.id, room_id="!branch")

        with self.assertRaises(AccessError):
            self.old.action_move_waiting()
        self.backend.action_move_waiting()

        by_room = {row["room_id"]: row["backend_id"] for row in self.outbox()}
        self.assertEqual(by_room["!branch"], theirs.id)
        self.assertEqual(by_room[self.ticket.matrix_room_id], self.new.id)

    def test_it_is_for_managers_and_needs_a_backend_to_go_to(self):
        with self.assertRaises(AccessError):
            self.backend.with_user(self.user).action_move_waiting()
        with self.assertRaisesRegex(UserError, "sends its messages itself"):
            self.new.with_user(self.manager).action_move_waiting()
        self.new.is_active = False
        with self.assertRaisesRegex(UserError, "No Matrix backend is active"):
            self.old.action_move_waiting()
        self.assertEqual(len(self.outbox()), 3)

    def test_the_overview_names_the_trouble_and_the_way_out(self):
        def troubles():
            overview = self.env["matrix.log"].with_user(self.manager).get_overview()
            return {trouble["id"]: trouble["note"] for trouble in overview["troubles"]}

        self.assertIn("move the messages", troubles()[self.backend.id])
        self.assertTrue(self.old.is_stranded)

        self.old.action_move_waiting()
        self.assertNotIn(self.backend.id, troubles())

    def test_send_again_goes_through_the_current_backend(self):
        self.backend.default_room_id = "!old-default:example.org"
        self.new.default_room_id = "!new-default:example.org"
        homeless = self.ticket.create({"name": "No room"})
        cases = (
            ({"res_model": self.ticket._name, "res_id": self.ticket.id}, None),
            (
                {
                    "res_model": self.ticket._name,
                    "res_id": homeless.id,
                    "room_id": "!old-default:example.org",
                },
                "!new-default:example.org",
            ),
            ({"room_id": None, "matrix_user_id": "@ida:example.org"}, None),
        )
        for values, room in cases:
            self.clear_outbox()
            log = self.log_row(
                **{
                    "backend_id": self.backend.id,
                    "event_type": "manual",
                    "room_id": self.ticket.matrix_room_id,
                    "txn_id": "odoo-old",
                    "content": {"body": "Late"},
                    "status": "failed",
                    **values,
                }
            )

            log.with_user(self.manager).action_send_again()

            (row,) = self.outbox()
            self.assertEqual(row["backend_id"], self.new.id)
            if room:
                self.assertEqual(row["room_id"], room)
