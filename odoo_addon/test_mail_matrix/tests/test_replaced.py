from unittest.mock import patch

from odoo.tests import tagged

from .common import ROOM
from .inbound import InboundCase

NEW = "!new:example.org"
NEWEST = "!newest:example.org"


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

    def tombstone(self, new=NEW, **values):
        content = {"replacement_room": new, "body": "replaced"}
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
            "SELECT retry_at > now() AT TIME ZONE 'UTC' + interval '5 s' "
            "FROM matrix_lane WHERE lane = %s",
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

    def test_rooms_that_nobody_has_any_more_are_not_looked_at_again(self):
        other = self.ticket.copy({"matrix_room_id": "!other:example.org"})
        self.commit()
        self.clear_outbox()
        for room in (ROOM, "!nobody:example.org", other.matrix_room_id):
            self.worker_follows(room, f"!new-{room[1:]}")
        crons, lanes = self.registry["ir.cron"], self.registry["matrix.lane"]
        real = lanes._follow_replaced
        with (
            patch.object(crons, "_matrix_tell", autospec=True) as tell,
            patch.object(lanes, "_follow_replaced", autospec=True) as follow,
        ):
            follow.side_effect = real
            for _times in range(3):
                self.follow()
        remaining = [call.kwargs["remaining"] for call in tell.call_args_list]
        self.assertEqual(remaining, [1, 0, 0])
        olds = [call.args[2] for call in follow.call_args_list]
        self.assertEqual(olds, [ROOM, "!other:example.org"])

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

    def test_an_encrypted_room_is_not_said_to_be_followed(self):
        self.ticket.matrix_room_health = "encrypted"
        for _times in range(2):
            self.ingest(self.tombstone())
            self.assertEqual(self.outbox(), [], "nothing may be sent there")
            self.assertEqual(self.ticket.matrix_room_health, "replaced")
            self.assertIn("does not follow", self.ticket.matrix_room_health_note)

    def test_a_room_is_announced_once_unless_it_is_replaced_by_yet_another_one(self):
        self.ingest(self.tombstone(event_id="$once"), self.tombstone(event_id="$once"))
        self.ingest(self.tombstone())
        self.assertEqual(len(self.outbox()), 1)
        self.ingest(self.tombstone(NEWEST))
        self.assertEqual(len(self.outbox()), 1, "the worker follows with the one")
        self.clear_outbox()
        self.ingest(self.tombstone(NEWEST))
        self.assertEqual(self.outbox(), [])
        self.ingest(self.tombstone(NEW))
        self.assertEqual(len(self.outbox()), 1)

    def test_what_is_written_in_the_new_room_comes_to_the_record_from_the_start(self):
        self.assertFalse(self.ingest(self.text("unknown", room_id=NEW)))
        early = self.text("early", room_id=NEW)
        (note,) = self.ingest(self.tombstone(), early)
        self.assertIn("early", note.body)
        self.worker_follows()
        notes = self.ingest(early, self.text("followed", room_id=NEW))
        self.assertIn("followed", notes[1].body)
        self.clear_outbox()
        self.follow()
        notes = self.ingest(early, self.text("linked", room_id=NEW))
        self.assertIn("linked", notes[2].body)

    def test_a_room_that_is_replaced_twice_leads_to_the_record(self):
        newest = self.tombstone(NEWEST, room_id=NEW)
        for first in (lambda: self.ingest(self.tombstone()), self.worker_follows):
            with self.subTest(first=first):
                self.env["matrix.inbound"].search([]).unlink()
                self.clear_outbox()
                first()
                before = len(self.notes())
                self.ingest(newest, self.text("newest", room_id=NEWEST))
                self.assertEqual(len(self.notes()), before + 1)
                (row,) = self.outbox()
                self.assertEqual(row["room_id"], ROOM, "the worker goes on from there")
                self.assertEqual(self.ticket.matrix_room_health, "replaced")

    def test_rooms_that_replace_each_other_end(self):
        self.ingest(self.tombstone(), self.tombstone(ROOM, room_id=NEW))
        self.assertTrue(self.ingest(self.text(room_id=NEW)))
        self.ticket.matrix_room_id = "!elsewhere:example.org"
        before = self.notes()
        self.assertEqual(self.ingest(self.text(room_id=NEW)), before)

    def test_a_room_that_the_worker_refuses_does_not_write_to_the_record(self):
        self.ingest(self.tombstone())
        self.log(self.outbox()[0], error_code="org.odoo.room_replaced")
        self.assertFalse(self.ingest(self.text(room_id=NEW)))
        # Corrected, it gets another chance.
        self.env.cr.execute("UPDATE matrix_log SET date = date - interval '1 hour'")
        self.ingest(self.tombstone(NEWEST))
        self.assertFalse(self.ingest(self.text(room_id=NEW)), "it is named no more")
        self.assertTrue(self.ingest(self.text(room_id=NEWEST)))

    def test_nobody_can_direct_another_conversation_to_a_record(self):
        self.ingest(self.tombstone())
        company = self.env["res.company"].create({"name": "Other"})
        self.backend.copy({"company_id": company.id, "is_active": True})
        theirs = self.ticket.copy({"company_id": company.id})
        self.env.cr.execute(
            "INSERT INTO matrix_lane (lane, room_id) VALUES (%s, %s)",
            [f"{self.backend.id}/@anna:example.org", NEW],
        )
        self.assertFalse(self.ingest(self.text(room_id=NEW)), "a direct room")
        self.env.cr.execute("DELETE FROM matrix_lane")
        self.backend.default_room_id = NEW
        self.assertFalse(self.ingest(self.text(room_id=NEW)), "the default room")
        self.backend.default_room_id = False
        theirs.matrix_room_id = NEW
        self.assertFalse(self.ingest(self.text(room_id=NEW)), "of another company")
        theirs.matrix_enabled = False
        self.assertFalse(self.ingest(self.text(room_id=NEW)), "Matrix is off")
        theirs.matrix_room_id = False
        requests = self.env["matrix.room.request"]
        requests._insert(theirs)
        requests.search([]).room_id = NEW
        self.assertFalse(self.ingest(self.text(room_id=NEW)), "not linked yet")
        requests.search([]).unlink()
        self.assertTrue(self.ingest(self.text(room_id=NEW)))

    def test_a_record_whose_room_was_followed_comes_before_one_that_says_so(self):
        liar = self.ticket.copy(
            {"matrix_room_id": "!lie:example.org", "matrix_receives_replies": True}
        )
        self.ingest(self.tombstone(room_id="!lie:example.org"))
        self.worker_follows()
        self.assertTrue(self.ingest(self.text(room_id=NEW)))
        self.assertFalse(self.notes(liar))

    def test_the_rooms_that_were_followed_are_read_once_for_the_events_of_a_call(self):
        unknown = [self.text(room_id=f"!unknown{n}:example.org") for n in range(5)]
        with patch.object(
            self.registry["matrix.lane"],
            "_rooms_followed",
            autospec=True,
            return_value={},
        ) as read:
            self.ingest(*unknown)
            self.ingest(*unknown)
        self.assertEqual(read.call_count, 2)

    def test_an_edit_reaches_the_message_in_the_room_to_which_the_worker_followed(self):
        self.ticket.matrix_mirror_chatter = True
        before, during, late = (self.post(text) for text in ("A", "B", "C"))
        for row, room in zip(self.outbox(), (ROOM, NEW, NEW), strict=True):
            self.log(row, status="ok", room_id=room, matrix_event_id=f"${room}")
        self.worker_follows()
        self.follow()
        for message in (before, during):
            self.ticket._message_update_content(message, body="Changed")
        late.unlink()
        self.commit()
        rows = self.outbox()
        self.assertEqual([row["room_id"] for row in rows], [NEW, NEW])
        self.assertIn("Changed", rows[0]["content"]["m.new_content"]["body"])
        kinds = [row["matrix_type"] for row in rows]
        self.assertEqual(kinds, ["m.room.message", "m.room.redaction"])

    def post(self, body):
        message = self.ticket.message_post(
            body=body, message_type="comment", subtype_xmlid="mail.mt_comment"
        )
        self.commit()
        return message

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
