import warnings
from unittest.mock import patch

from odoo.tests import tagged

from ..wizards import contact_sync_run
from .homeserver import BOT
from .test_contact_sync import ANNA, BORIS, ROOM, ContactSyncCase, members


@tagged("post_install", "-at_install")
class TestContactSyncBackground(ContactSyncCase):
    """A search that goes on after the person has left, or begins at night."""

    def continue_in_background(self):
        """Let the scheduled action run once; return who was notified of what."""
        sent = []

        def send(user, _kind, message):
            sent.append((user, message))

        with patch.object(type(self.env["res.users"]), "_bus_send", send):
            self.env["matrix.contact.sync"]._cron_continue()
        return sent

    def test_the_background_goes_on_where_a_person_stopped(self):
        self.answers[members(ROOM)] = (429, {"errcode": "M_LIMIT_EXCEEDED"})
        sync = self.sync(with_rooms=True)
        sync.action_continue_in_background()
        self.assertEqual(sync.state, "background")
        self.answers[members(ROOM)] = (200, {"joined": {ANNA: {"display_name": "A"}}})

        [(_user, note)] = self.continue_in_background()

        self.assertEqual(sync.state, "done")
        self.assertEqual(self.contacts()[ANNA].name, "A")
        self.assertEqual((note["message"], note["type"]), (sync.result, "success"))

    def test_a_long_directory_reports_its_progress_and_goes_on(self):
        with patch.object(contact_sync_run, "_MAX_PEOPLE", 1):
            sync = self.sync(with_rooms=True)
            sync.action_continue_in_background()
            self.assertEqual(sync.state, "background")
            [(user, note)] = self.continue_in_background()

        self.assertEqual((user, note["type"]), (self.user, "info"))
        self.assertIn("Contacts found: ", note["message"])
        self.assertEqual(sync.state, "background")
        self.continue_in_background()
        self.assertEqual(sync.state, "done")
        self.assertEqual({*self.contacts()}, {ANNA, BORIS})

    def test_the_scheduler_hears_how_much_is_left(self):
        syncs = self.env["matrix.contact.sync"]
        values = {"backend_id": self.backend.id, "state": "background"}
        cron, progress = type(self.env["ir.cron"]), []
        # Odoo 19 has another method, and warns of the one that Odoo 18 has.
        is_new = hasattr(cron, "_commit_progress")
        name = "_commit_progress" if is_new else "_notify_progress"

        def tell(_cron, *_done, remaining, **_values):
            progress.append(remaining)

        with (
            patch.object(cron, name, tell),
            patch.object(type(self.env["res.users"]), "_bus_send", create=True),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error", DeprecationWarning)
            syncs.create([values, values])
            for _run in range(2):
                syncs.with_context(ir_cron_progress_id=1)._cron_continue()

        self.assertEqual(progress, [1, 0])

    def test_a_sync_that_cannot_go_on_gives_the_next_one_its_turn(self):
        syncs = self.env["matrix.contact.sync"]
        for status, state in ((429, "stopped"), (200, "done")):
            self.answers["GET", "/account/whoami"] = (status, {"user_id": BOT})
            first = syncs.create({"backend_id": self.backend.id, "state": "background"})

            [(_user, note)] = self.continue_in_background()

            self.assertEqual(first.state, state)
            self.assertEqual(note["message"], first.result)
        waiting = syncs.create({"backend_id": self.backend.id, "state": "background"})
        self.backend.is_active = False

        [(_user, note)] = self.continue_in_background()

        self.assertEqual((waiting.state, note["type"]), ("stopped", "warning"))
        self.assertIn("turned off", note["message"])

    def test_the_nightly_sync_is_off_and_looks_everywhere(self):
        cron = self.env.ref("mail_matrix.matrix_contact_sync_cron")
        self.assertFalse(cron.active)

        self.env["matrix.contact.sync"]._cron_start()

        self.assertEqual({*self.contacts()}, {ANNA, BORIS})
