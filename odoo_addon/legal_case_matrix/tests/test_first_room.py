from odoo.tests import tagged

from .common import ROOM, LegalMatrixCase

CREATED = "Case Late room created for Ida Client"


@tagged("post_install", "-at_install")
class TestFirstRoom(LegalMatrixCase):
    """A case that gets its room later: what was not posted, and what is posted then."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.late = cls.create_case(name="Late room", matrix_room_id=False)
        cls.commit()

    def not_posted(self):
        rows = self.env["matrix.log"].search([("res_id", "=", self.late.id)])
        return [(row.event_type, row.outcome, row.error_code) for row in rows]

    def test_the_log_says_why_nothing_was_posted(self):
        self.create_hearing(case_id=self.late.id)
        self.late.stage_id = self.stages[1]

        self.assertEqual(self.said(), [])
        self.assertEqual(
            self.not_posted(),
            [
                (event, "not_posted", "org.odoo.no_room")
                for event in ("stage_changed", "hearing_created", "case_created")
            ],
        )
        row = self.env["matrix.log"].with_user(self.lawyer).search([], limit=1)
        self.assertIn("had no Matrix room", row.error_message)
        self.assertIn("Link or create a room", row.hint)
        delivery = self.late.get_matrix_deliveries()["rows"][0]
        self.assertEqual(delivery["outcome"], "not_posted")

    def test_a_case_with_matrix_off_says_so(self):
        self.case.matrix_enabled = False
        self.case.stage_id = self.stages[1]

        self.assertEqual(self.said(), [])
        row = self.env["matrix.log"].search([], limit=1)
        self.assertEqual((row.outcome, row.res_id), ("not_posted", self.case.id))
        self.assertIn("turned off", row.error_message)

    def test_what_was_not_posted_has_not_failed(self):
        overview = self.env["matrix.log"].with_user(self.manager).get_overview()

        self.assertEqual(overview["failed"], "0")
        self.assertEqual(self.backend.failed_count, 0)

    def test_the_first_room_hears_once_that_the_case_was_created(self):
        self.late.matrix_room_id = ROOM
        self.assertEqual(self.said(), [CREATED])

        self.late.matrix_room_id = "!second:example.org"
        self.late.matrix_room_id = False
        self.late.matrix_room_id = ROOM
        self.assertEqual(self.said(), [CREATED])

    def test_it_is_not_said_again_after_the_log_has_forgotten_it(self):
        self.late.matrix_room_id = ROOM
        self.settle()
        self.late.matrix_room_id = False

        self.late.matrix_room_id = ROOM
        self.assertEqual(self.said(), [])

    def test_what_the_default_room_heard_is_not_said_again(self):
        self.backend.default_room_id = "!default:example.org"
        for is_sent in (True, False):
            case = self.create_case(name="Late room", matrix_room_id=False)
            self.assertEqual(self.said(), [CREATED])
            if is_sent:
                self.log_all()

            case.matrix_room_id = ROOM

            self.assertEqual(self.said(), [] if is_sent else [CREATED])

    def test_created_and_linked_in_one_go_is_said_once(self):
        case = self.create_case(name="Late room", matrix_room_id=False)
        case.matrix_room_id = ROOM

        self.assertEqual(self.said(), [CREATED])
