from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.browser import BrowserCase

from .common import LegalMatrixCase


@tagged("post_install", "-at_install")
class TestChatterFailure(BrowserCase, LegalMatrixCase):
    def test_a_failure_is_red_in_the_chatter_and_in_the_menu(self):
        self.let_log_in(self.lawyer)
        self.case.matrix_mirror_chatter = True
        self.settle()
        self.case.message_post(
            body="Please read this",
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
        )
        self.commit()
        self.log(self.outbox()[0], error_message="Not in this room")
        self.env["matrix.mirror"]._cron_show_deliveries()
        self.browse(
            f"/odoo/action-legal_case.legal_case_action/{self.case.id}",
            """
            const red = ".o-mail-Message-notification.text-danger";
            await shows(red, "Matrix: not sent");
            await click(".o_menu_systray button:has([aria-label=Messages])");
            await shows(".o-mail-NotificationItem", "could not be sent to Matrix");
            await click(red);
            await shows(".modal .o_data_row", "Not in this room");
            await click(".modal button[name=action_retry]");
            await until(() => !one(".modal"), "the dialog to close");
            """,
            "matrix-lawyer",
        )
        self.assertEqual(len(self.outbox()), 1)
