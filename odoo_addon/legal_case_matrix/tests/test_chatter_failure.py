from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.browser import BrowserCase

from .common import LegalMatrixCase


@tagged("post_install", "-at_install")
class TestChatterFailure(BrowserCase, LegalMatrixCase):
    def setUp(self):
        super().setUp()
        self.let_log_in(self.lawyer)
        self.case.matrix_mirror_chatter = True
        self.settle()
        self.message = self.case.message_post(
            body="Please read this",
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
        )
        self.commit()
        self.case_form = f"/odoo/action-legal_case.legal_case_action/{self.case.id}"

    def end(self, **outcome):
        self.log(self.outbox()[0], **outcome)
        self.env["matrix.mirror"]._cron_show_deliveries()

    def test_a_failure_is_red_in_the_chatter_and_in_the_menu(self):
        self.end(error_message="Not in this room")
        self.browse(
            self.case_form,
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

    def test_what_failed_by_email_too_leads_to_both_reasons(self):
        self.env["mail.notification"].sudo().create(
            {
                "mail_message_id": self.message.id,
                "author_id": self.message.author_id.id,
                "res_partner_id": self.partner.id,
                "notification_type": "email",
                "notification_status": "exception",
                "failure_type": "mail_smtp",
            }
        )
        self.end(error_message="Not in this room")
        self.browse(
            self.case_form,
            """
            const text = await shows("button .text-danger", "Matrix: not sent");
            const red = getComputedStyle(one(".o-mail-Message-notification")).color;
            if (getComputedStyle(text).color !== red) throw new Error("It is not red");
            text.click();
            await shows(".modal .o_data_row", "Not in this room");
            await click(".modal footer .btn-secondary");
            await until(() => !one(".modal"), "the dialog to close");
            await click(".o-mail-Message-notification");
            await shows(".modal, .o-mail-MessageNotificationPopover", "Ida Client");
            """,
            "matrix-lawyer",
        )

    def test_what_was_sent_says_where_it_went(self):
        self.end(status="ok")
        self.browse(
            self.case_form,
            """
            (await shows(".o-mail-Message-notification", "Matrix: sent")).click();
            await shows(".o-mail-MessageNotificationPopover", "Matrix");
            """,
            "matrix-lawyer",
        )
