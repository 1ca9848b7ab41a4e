from odoo.tests import tagged

from .common import ROOM, LegalMatrixCase


@tagged("post_install", "-at_install")
class TestHearingEvents(LegalMatrixCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env.company.partner_id.tz = "Europe/Vienna"
        cls.hearing = cls.create_hearing()
        cls.settle()

    def test_a_new_hearing_is_posted_in_the_room_of_its_case(self):
        self.create_hearing(name="Verdict")

        self.assertEqual(
            self.said(),
            [
                "Hearing Verdict on Wed, 1 May 2030, 09:00 CEST at Room 204 "
                "(case Ida v. Rest)"
            ],
        )
        (row,) = self.outbox()
        self.assertEqual(row["event_type"], "hearing_created")
        self.assertEqual(row["room_id"], ROOM)
        self.assertEqual(
            (row["res_model"], row["res_id"]), ("legal.case", self.case.id)
        )

    def test_a_hearing_without_a_place_is_posted_without_one(self):
        self.create_hearing(location=False)

        self.assertEqual(
            self.said(),
            ["Hearing Oral hearing on Wed, 1 May 2030, 09:00 CEST (case Ida v. Rest)"],
        )

    def test_another_time_or_place_is_posted(self):
        self.hearing.write({"date_start": "2030-05-02 08:30:00", "location": "Room 1"})

        self.assertEqual(
            self.said(),
            [
                "Hearing Oral hearing changed: on Thu, 2 May 2030, 10:30 CEST "
                "at Room 1 (case Ida v. Rest)"
            ],
        )

    def test_changes_of_no_interest_to_the_room_are_not_posted(self):
        self.hearing.write(
            {"judge": "N.N.", "location": "Room 204", "note": "<p>x</p>"}
        )
        self.hearing.action_hold()
        self.hearing.location = "Archive"

        self.assertEqual(self.said(), [])

    def test_a_cancelled_hearing_is_posted_once(self):
        self.hearing.write({"state": "cancelled", "location": "Nowhere"})
        self.hearing.location = "Elsewhere"

        self.assertEqual(
            self.said(),
            [
                "Hearing Oral hearing on Wed, 1 May 2030, 09:00 CEST at Elsewhere"
                + " is cancelled (case Ida v. Rest)"
            ],
        )

    def test_a_hearing_that_takes_place_after_all_is_posted(self):
        self.hearing.action_cancel()
        self.settle()

        self.hearing.action_plan()

        self.assertEqual(
            self.said(),
            [
                "Hearing Oral hearing changed: on Wed, 1 May 2030, 09:00 CEST"
                + " at Room 204 (case Ida v. Rest)"
            ],
        )

    def test_the_time_is_the_same_whoever_makes_the_hearing(self):
        """The company's contact has no time zone: it is the administrator's then."""
        self.env.company.partner_id.tz = False
        self.env.ref("base.user_admin").tz = "Europe/Vienna"
        for zone in ("Europe/Vienna", "America/New_York", False):
            self.lawyer.tz = zone
            for context_zone in (zone, "Asia/Tokyo"):
                hearings = self.env["legal.hearing"].with_context(tz=context_zone)
                self.env["legal.hearing"].invalidate_model()
                values = {
                    "name": "Oral hearing",
                    "case_id": self.case.id,
                    "date_start": "2030-05-01 12:00:00",
                    "location": "Room 204",
                }
                for user in (self.lawyer, self.env.ref("base.user_root")):
                    hearings.with_user(user).sudo().create(values)
                    self.commit()

        self.assertEqual(
            set(self.said()),
            {
                "Hearing Oral hearing on Wed, 1 May 2030, 14:00 CEST at Room 204 "
                "(case Ida v. Rest)"
            },
        )
        self.assertEqual(len(self.bodies()), 12)

    def test_the_zone_is_named_as_the_reader_s_language_does(self):
        self.env["res.lang"]._activate_lang("de_DE")
        self.env.company.partner_id.lang = "de_DE"

        self.create_hearing(date_start="2030-05-01 12:00:00")
        self.create_hearing(date_start="2030-01-01 12:00:00")

        summer, winter = self.said()
        self.assertIn("14:00 MESZ", summer)
        self.assertIn("13:00 MEZ", winter)

    def test_without_any_time_zone_it_is_utc_and_says_so(self):
        self.env.company.partner_id.tz = False
        self.env.ref("base.user_admin").tz = False

        self.create_hearing(date_start="2030-05-01 12:00:00")

        self.assertIn("12:00 UTC", self.said()[0])

    def test_archiving_a_case_says_nothing_of_its_hearings(self):
        self.case.active = False

        self.assertEqual(self.said(), [])
