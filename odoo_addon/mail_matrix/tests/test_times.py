from datetime import datetime
from unittest.mock import patch

from babel import Locale

from odoo.release import version_info

from ..tools.times import date_time_text, time_text
from .common import MatrixCase

AT = datetime(2031, 3, 4, 13, 5, 42)


class TestTimes(MatrixCase):
    """Sentences give times as lists do: in the user's zone and language, without
    seconds."""

    def shown(self, lang, value=AT):
        self.env["res.lang"]._activate_lang(lang)
        self.user.tz = "Europe/Vienna"
        env = self.env(user=self.user, context={"lang": lang})
        return time_text(env, value), date_time_text(env, value)

    def test_a_time_is_written_as_the_language_has_it(self):
        if version_info[0] < 19:
            expected = ("14:05", "04.03.2031 14:05")
        else:
            expected = ("14:05", "4. März 2031, 14:05")
        self.assertEqual(self.shown("de_DE"), expected)

    def test_a_language_may_count_to_twelve(self):
        if version_info[0] < 19:
            english = self.env["res.lang"].search([("code", "=", "en_US")])
            english.short_time_format = "%I:%M %p"
            expected = ("02:05 PM", "03/04/2031 02:05 PM")
        else:
            expected = ("2:05 PM", "Mar 4, 2031, 2:05 PM")
        self.assertEqual(self.shown("en_US"), expected)

    def test_odoo_19_leaves_out_this_year(self):
        now = self.env.cr.now()
        _time, date_time = self.shown("de_DE", now)

        self.assertEqual(str(now.year) in date_time, version_info[0] < 19)

    @patch.object(Locale, "datetime_skeletons", {})
    def test_a_language_may_have_no_short_date(self):
        _time, date_time = self.shown("de_DE")

        self.assertEqual(date_time.replace(",", ""), "04.03.2031 14:05")

    def test_a_zone_can_be_given(self):
        self.env["res.lang"]._activate_lang("de_DE")
        env = self.env(context={"lang": "de_DE"})

        self.assertIn("22:05", date_time_text(env, AT, "Asia/Tokyo"))
