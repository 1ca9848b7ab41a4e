from contextlib import closing, contextmanager
from unittest.mock import patch

import psycopg2
from psycopg2 import errorcodes

from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import ROOM, TicketCase


@tagged("post_install", "-at_install")
class TestBusinessFirst(TicketCase):
    """A business transaction never fails, waits or changes because of Matrix."""

    def move(self, stage="Done"):
        """Move the ticket and return how many messages its chatter got by that."""
        before = len(self.ticket.message_ids)
        self.ticket.stage = stage
        self.commit()
        self.ticket.invalidate_recordset()
        return len(self.ticket.message_ids) - before

    def stage_in_database(self):
        self.env.cr.execute(
            "SELECT stage FROM test_matrix_ticket WHERE id = %s", [self.ticket.id]
        )
        return self.env.cr.fetchone()[0]

    def test_a_failing_text_keeps_the_write_and_is_logged(self):
        messages = self.move("Doing")
        self.assertEqual(messages, 1)
        self.clear_outbox()
        self.backend.template_ticket_moved = "{{ object.name < 1 }}"

        self.assertEqual(self.move("Done"), messages)

        self.assertEqual(self.stage_in_database(), "Done")
        self.assertEqual(self.outbox(), [])
        (failure,) = self.failures()
        self.assertEqual(failure["error_code"], "org.odoo.template")
        self.assertIn("cannot be compared", failure["error_message"])
        self.assertEqual(failure["event_type"], "ticket_moved")
        self.assertEqual(failure["room_id"], ROOM)
        self.assertEqual(failure["backend_id"], self.backend.id)
        self.assertEqual(failure["res_id"], self.ticket.id)
        self.assertTrue(failure["is_final"])

    def test_a_failing_text_does_not_hold_back_the_others(self):
        self.backend.template_ticket_moved = (
            "{{ object.name if object.stage != 'Bad' else object.name < 1 }}"
        )
        bad = self.ticket.copy({"matrix_room_id": "!bad"})
        self.commit()
        self.clear_outbox()
        self.ticket.stage = "Good"
        bad.stage = "Bad"
        self.commit()

        self.assertEqual(self.bodies(), ["Leaking tap"])
        self.assertEqual([row["room_id"] for row in self.failures()], ["!bad"])

    def test_an_error_of_the_database_in_a_text_is_kept_to_itself(self):
        self.backend.template_ticket_moved = "{{ object.echo }}"
        other = self.ticket.copy({"matrix_room_id": "!other"})
        self.commit()
        self.clear_outbox()

        def fail_if_bad(ticket):
            if ticket.stage == "Bad":
                ticket.env.cr.execute("SELECT no_such_column")
            return "fine"

        with self.echoing(fail_if_bad), mute_logger("odoo.sql_db"):
            other.stage = "Good"
            self.assertEqual(self.move("Bad"), 1)

        self.assertEqual(self.stage_in_database(), "Bad")
        self.assertEqual(self.bodies(), ["fine"])
        (failure,) = self.failures()
        self.assertEqual(failure["res_id"], self.ticket.id)

    def test_a_row_that_the_database_refuses_is_logged(self):
        self.env.cr.execute(
            "UPDATE test_matrix_ticket SET matrix_room_id = 'no room' WHERE id = %s",
            [self.ticket.id],
        )
        self.ticket.invalidate_recordset()
        with mute_logger("odoo.sql_db"):
            self.assertEqual(self.move(), 1)

        self.assertEqual(self.stage_in_database(), "Done")
        self.assertEqual(self.outbox(), [])
        self.assertEqual(len(self.failures()), 1)

    def test_a_text_that_writes_leaves_nothing_dirty(self):
        self.backend.template_ticket_moved = "{{ object.echo }}"
        self.ticket.stage = "Done"
        with self.echoing(lambda ticket: ticket.write({"secret": "x"})):
            self.commit()

        self.env.invalidate_all(flush=False)
        self.assertEqual(self.ticket.secret, "x")

    def test_a_text_that_causes_its_own_event_ends(self):
        self.backend.template_ticket_moved = "{{ object.echo }}"
        self.ticket.stage = "Done"
        with self.echoing(lambda ticket: ticket.write({"stage": "Again"})):
            self.commit()

        self.assertEqual(self.bodies(), ["True"])

    def test_errors_that_make_odoo_retry_are_raised(self):
        for code in (
            errorcodes.SERIALIZATION_FAILURE,
            errorcodes.DEADLOCK_DETECTED,
            errorcodes.LOCK_NOT_AVAILABLE,
        ):
            error_class = psycopg2.errors.lookup(code)
            self.ticket.stage = f"{code}"
            with self.raising(code), mute_logger("odoo.sql_db"):
                self.assertIs(self.error_of_commit(), error_class)
            self.assertEqual(self.failures(), [])

    def error_of_commit(self):
        """Return the class of what a commit raises. The hooks run here, no earlier."""
        savepoint = self.env.cr.savepoint(flush=False)
        try:
            self.commit()
        except psycopg2.Error as error:
            return type(error)
        finally:
            savepoint.close(rollback=True)
        return None

    @contextmanager
    def raising(self, code):
        """Make the database raise ``code`` where the rows are inserted."""
        outbox = type(self.env["matrix.outbox"])

        def fail(records, rows):
            if rows:
                records.env.cr.execute(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")

        with patch.object(outbox, "_insert_rows", fail):
            yield

    def test_a_rollback_leaves_nothing(self):
        with self.assertRaises(ZeroDivisionError), self.env.cr.savepoint():
            self.ticket.stage = "Lost"
            raise ZeroDivisionError
        self.commit()

        self.assertEqual(self.outbox() + self.failures(), [])

    def test_what_a_savepoint_rolled_back_is_not_posted(self):
        """Not even in one that Odoo does not notice, since it flushes nothing."""
        self.ticket.stage = "Kept"
        self.env.flush_all()
        with closing(self.env.cr.savepoint(flush=False)):
            self.ticket.stage = "Taken back"
            self.ticket.copy({"name": "Gone", "matrix_room_id": "!gone"})
            self.env.flush_all()
        self.env.invalidate_all(flush=False)
        other = self.ticket.copy({"name": "Other", "matrix_room_id": "!other"})
        with self.env.cr.savepoint(flush=False):
            other.stage = "Kept too"
        self.commit()

        self.assertEqual(
            self.bodies(),
            [
                "Ticket Leaking tap moved to Kept",
                "Ticket Other created",
                "Ticket Other moved to Kept too",
            ],
        )
        self.assertEqual(self.failures(), [])

    def test_a_single_stage_change_that_a_savepoint_rolled_back_is_not_posted(self):
        with closing(self.env.cr.savepoint(flush=False)):
            self.ticket.stage = "Taken back"
            self.env.flush_all()
        # The cache still says so, because nothing cleared it.
        self.assertEqual(self.ticket.stage, "Taken back")
        self.ticket.name = "Renamed"
        self.env.invalidate_all()
        self.ticket.name = "Leaking tap"
        with closing(self.env.cr.savepoint(flush=False)):
            self.ticket.stage = "Never written"
            self.env.transaction.clear()
        self.commit()

        self.assertEqual(self.stage_in_database(), "New")
        self.assertEqual(self.outbox() + self.failures(), [])

    def test_a_change_that_outlives_the_savepoint_is_posted(self):
        """What Odoo had not written yet is written at commit all the same."""
        with closing(self.env.cr.savepoint(flush=False)):
            self.ticket.stage = "Written later"
        self.commit()

        self.assertEqual(self.stage_in_database(), "Written later")
        self.assertEqual(self.bodies(), ["Ticket Leaking tap moved to Written later"])

    def test_a_message_that_a_savepoint_rolled_back_is_not_posted(self):
        self.ticket.matrix_mirror_chatter = True
        with closing(self.env.cr.savepoint(flush=False)):
            self.ticket.message_post(
                body="Never", message_type="comment", subtype_xmlid="mail.mt_comment"
            )
        self.env.transaction.clear()
        self.commit()

        self.assertEqual(self.outbox() + self.failures(), [])

    def test_a_savepoint_of_other_code_neither_loses_nor_doubles_messages(self):
        self.ticket.stage = "One"
        with self.env.cr.savepoint():
            self.ticket.copy({"name": "Other", "matrix_room_id": "!other"})
        self.commit()

        self.assertEqual(
            self.bodies(),
            ["Ticket Leaking tap moved to One", "Ticket Other created"],
        )
