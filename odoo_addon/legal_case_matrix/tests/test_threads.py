from odoo.tests import tagged

from .common import LegalMatrixCase

THREAD = "org.odoo.thread"
OPENING = ["case_created", "case_summary"]


@tagged("post_install", "-at_install")
class TestThreads(LegalMatrixCase):
    """Which messages the worker is to send in the thread of their case."""

    def threads(self):
        self.commit()
        return [
            (row["event_type"], row["content"].get(THREAD)) for row in self.outbox()
        ]

    def test_without_the_option_no_message_names_a_thread(self):
        self.create_case()
        self.case.stage_id = self.stages[1]
        self.assertEqual(
            self.threads(), [("case_created", None), ("stage_changed", None)]
        )

    def test_all_messages_of_a_case_name_the_event_that_begins_its_thread(self):
        self.backend.use_threads = True
        case = self.create_case(matrix_mirror_chatter=True)
        self.create_hearing(case_id=case.id)
        case.stage_id = self.stages[1]
        case.message_post(
            body="Hello", message_type="comment", subtype_xmlid="mail.mt_comment"
        )
        case._matrix_enqueue("manual", "Hello")
        self.assertEqual(
            sorted(self.threads()),
            [
                (event, OPENING)
                for event in (
                    "case_created",
                    "chatter",
                    "hearing_created",
                    "manual",
                    "stage_changed",
                )
            ],
        )

    def test_a_test_message_belongs_to_no_thread(self):
        self.backend.use_threads = True
        self.case.action_matrix_send_test()
        self.assertEqual(self.threads(), [("test", None)])

    def test_send_again_follows_the_option_of_today(self):
        for is_on, expected in ((True, OPENING), (False, None)):
            with self.subTest(is_on):
                self.backend.use_threads = not is_on
                self.case.stage_id = self.stages[is_on]
                self.commit()
                failed = self.log(self.outbox()[-1])
                self.backend.use_threads = is_on
                failed.with_user(self.manager).action_send_again()
                self.assertEqual(self.threads(), [("stage_changed", expected)])
                self.clear_outbox()
