from urllib.parse import quote

from odoo import Command
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.browser import BrowserCase
from odoo.addons.mail_matrix.tests.homeserver import BOT, TOKEN, Homeserver

from .common import LegalMatrixCase


@tagged("post_install", "-at_install")
class TestFirstMessage(BrowserCase, LegalMatrixCase):
    def setUp(self):
        super().setUp()
        self.homeserver = Homeserver()
        self.addCleanup(self.homeserver.stop)
        self.homeserver.offer_login("odoo-bot", "secret of the bot")
        answers = self.homeserver.answers
        answers["GET", "/joined_rooms"] = (200, {"joined_rooms": ["!new"]})
        answers["POST", "/createRoom"] = (200, {"room_id": "!new"})
        answers["GET", "/rooms/!new/joined_members"] = (200, {"joined": {BOT: {}}})
        answers["GET", "/rooms/!new/members"] = (200, {"chunk": []})

    def test_a_manager_comes_from_nothing_to_the_first_message(self):
        self.env["matrix.backend"].search([]).is_active = False
        # Demo data has rooms and messages.
        self.env["legal.case"].search([]).matrix_room_id = False
        self.env.cr.execute("DELETE FROM matrix_log")
        self.env.invalidate_all()
        lawyers = self.env.ref("legal_case.legal_case_group_manager")
        self.manager.write({self.groups_field(): [Command.link(lawyers.id)]})
        self.worker_seen()
        self.settle()
        self.send_once_seen(self.case)

        self.start_tour(
            "/odoo/action-mail_matrix.matrix_overview_action",
            "matrix_first_message",
            login="matrix-manager",
            cookies={"matrix_homeserver": quote(self.homeserver.url, safe="")},
            timeout=180,
        )

        backend = self.env["matrix.backend"].search([("is_active", "=", True)])
        self.assertEqual(backend._token(), TOKEN)
        self.assertEqual(self.case.matrix_room_id, "!new")
        [sent] = self.env["matrix.log"].search([("status", "=", "ok")])
        self.assertEqual(sent.event_type, "test")
