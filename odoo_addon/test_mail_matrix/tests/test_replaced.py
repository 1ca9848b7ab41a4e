from odoo.tests import tagged

from .common import ROOM
from .inbound import InboundCase

NEW = "!new:example.org"


@tagged("post_install", "-at_install")
class TestReplaced(InboundCase):
    """A room is replaced by another one; the worker follows, and then the record."""

    def worker_follows(self, old=ROOM, new=NEW, lease="NULL"):
        """Write what the worker stores when it has followed to the new room."""
        self.env.cr.execute(
            "INSERT INTO matrix_lane (lane, room_id, lease_until) "
            f"VALUES (%s, %s, {lease}) "
            "ON CONFLICT (lane) DO UPDATE SET room_id = excluded.room_id, "
            "lease_until = excluded.lease_until",
            [f"{self.backend.id}/{old}", new],
        )

    def follow(self):
        self.env["matrix.lane"]._cron_follow_replaced()
        self.commit()

    def tombstone(self, **values):
        content = {"replacement_room": NEW, "body": "replaced"}
        values = {"type": "m.room.tombstone", "state_key": "", **values}
        return self.event(content, **values)

    def test_the_record_is_linked_to_the_new_room_and_says_so(self):
        self.ticket.matrix_mirror_chatter = self.ticket.matrix_mirror_notes = True
        self.worker_follows()
        self.follow()
        self.assertEqual(self.ticket.matrix_room_id, NEW)
        said = self.ticket.message_ids[0]
        self.assertIn("replaced by another one", said.body)
        self.assertIn(f"{ROOM} → {NEW}", said.body)
        self.assertEqual(said.subtype_id, self.env.ref("mail.mt_note"))
        self.assertEqual(self.bodies(), [], "what is said about it stays in Odoo")
        self.follow()
        self.assertEqual(self.ticket.message_ids[0], said)

    def test_a_record_follows_only_when_nothing_waits_for_the_old_room(self):
        self.worker_follows()
        self.as_user(self.ticket)._matrix_enqueue("manual", "Waiting")
        self.follow()
        self.assertEqual(self.ticket.matrix_room_id, ROOM)
        self.clear_outbox()
        self.worker_follows(lease="now() AT TIME ZONE 'UTC' + interval '1 minute'")
        self.follow()
        self.assertEqual(self.ticket.matrix_room_id, ROOM, "it is being sent")
        self.worker_follows()
        self.follow()
        self.assertEqual(self.ticket.matrix_room_id, NEW)

    def test_the_new_lane_rests_so_that_nothing_overtakes_what_is_committed_late(self):
        self.worker_follows()
        self.follow()
        self.env.cr.execute(
            "SELECT retry_at > now() AT TIME ZONE 'UTC' FROM matrix_lane "
            "WHERE lane = %s",
            [f"{self.backend.id}/{NEW}"],
        )
        self.assertEqual(self.env.cr.fetchall(), [(True,)])

    def test_the_rest_begins_when_the_records_are_linked(self):
        self.worker_follows()
        self.follow()
        self.env.cr.execute(
            "SELECT retry_at > clock_timestamp() AT TIME ZONE 'UTC' + "
            "interval '4 s' AND retry_at > now() AT TIME ZONE 'UTC' + "
            "interval '5 s' FROM matrix_lane WHERE lane = %s",
            [f"{self.backend.id}/{NEW}"],
        )
        self.assertEqual(self.env.cr.fetchall(), [(True,)])

    def test_each_room_is_followed_in_a_transaction_of_its_own(self):
        other = self.ticket.copy({"matrix_room_id": "!other:example.org"})
        self.commit()
        self.clear_outbox()
        self.worker_follows("!nobody:example.org")
        self.worker_follows()
        self.worker_follows("!other:example.org", "!its-new:example.org")
        self.follow()
        self.assertEqual(self.ticket.matrix_room_id, NEW)
        self.assertEqual(other.matrix_room_id, "!other:example.org")
        self.follow()
        self.assertEqual(other.matrix_room_id, "!its-new:example.org")

    def test_all_records_of_the_room_and_the_default_room_follow(self):
        twin = self.ticket.copy({"matrix_room_id": ROOM})
        other = self.ticket.copy({"matrix_room_id": "!other:example.org"})
        self.backend.default_room_id = ROOM
        self.worker_follows()
        self.follow()
        self.assertEqual((self.ticket | twin).mapped("matrix_room_id"), [NEW, NEW])
        self.assertEqual(other.matrix_room_id, "!other:example.org")
        self.assertEqual(self.backend.default_room_id, NEW)

    def test_rooms_of_other_backends_and_of_people_are_left_alone(self):
        self.env.cr.execute(
            "INSERT INTO matrix_lane (lane, room_id) VALUES (%s, %s), (%s, %s)",
            [
                f"{self.backend.id + 1000}/{ROOM}",
                NEW,
                f"{self.backend.id}/@a/!b:example.org",
                NEW,
            ],
        )
        self.follow()
        self.assertEqual(self.ticket.matrix_room_id, ROOM)

    def test_a_record_that_cannot_be_linked_holds_up_no_other(self):
        company = self.env["res.company"].create({"name": "Other"})
        self.ticket.company_id = self.env.company
        self.ticket.copy({"matrix_room_id": NEW, "company_id": company.id})
        self.worker_follows()
        with self.assertLogs("odoo.addons.mail_matrix.models.matrix_lane", "WARNING"):
            self.follow()
        self.assertEqual(self.ticket.matrix_room_id, ROOM)

    def test_a_tombstone_queues_a_message_with_which_the_worker_follows(self):
        self.ingest(self.tombstone())
        (row,) = self.outbox()
        self.assertEqual((row["event_type"], row["room_id"]), ("room_replaced", ROOM))
        self.assertIn("continue in this room", row["content"]["body"])
        self.assertFalse(row["expires_at"])
        self.assertEqual(self.ticket.matrix_room_health, "replaced")
        cron = self.env.ref("mail_matrix.matrix_replaced_cron")
        triggers = self.env["ir.cron.trigger"].search([("cron_id", "=", cron.id)])
        self.assertGreaterEqual(len(triggers), 3)
        # Received again, it changes nothing.
        self.ingest(
            self.tombstone(event_id="$again"), self.tombstone(event_id="$again")
        )
        self.assertEqual(len(self.outbox()), 2)

    def test_what_is_written_in_the_new_room_before_that_comes_to_the_record(self):
        self.assertFalse(self.ingest(self.text("lost", room_id=NEW)))
        self.worker_follows()
        (note,) = self.ingest(self.text("found", room_id=NEW))
        self.assertIn("found", note.body)

    def test_other_state_is_ignored(self):
        for values in (
            {"type": "m.room.name"},
            {"state_key": "x"},
            {"room_id": "!unknown:example.org"},
        ):
            with self.subTest(values):
                self.ingest(self.tombstone(**values))
                self.assertEqual(self.outbox(), [])
        message = self.tombstone()
        del message["state_key"]
        self.ingest(message)
        self.assertEqual(self.outbox(), [])
