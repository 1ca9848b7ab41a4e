from lxml import etree

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form

from .common import MatrixCase
from .homeserver import TOKEN, Homeserver

ANNA = "@anna:example.org"


class TestUsers(MatrixCase):
    """Who is who in Matrix: users say it of themselves, Matrix Managers of all."""

    def test_a_manager_maps_a_user_without_managing_users(self):
        seen = self.user.with_user(self.manager)
        with self.assertRaises(AccessError):
            seen.name = "Somebody else"

        seen.write({"matrix_user_id": ANNA, "matrix_display_name": "Anna"})

        self.assertEqual(self.user.matrix_user_id, ANNA)
        self.assertEqual(self.user.matrix_display_name, "Anna")

    def test_a_mapping_carries_nothing_else_along(self):
        with self.assertRaises(AccessError):
            self.user.with_user(self.manager).write(
                {"matrix_user_id": ANNA, "login": "taken-over"}
            )

    def test_a_manager_does_not_map_users_of_other_companies_only(self):
        company = self.env["res.company"].create({"name": "Elsewhere"})
        stranger = self.make_user(
            "stranger", "base.group_user", company_id=company.id, company_ids=company
        )
        with self.assertRaises(AccessError):
            stranger.with_user(self.manager).matrix_user_id = ANNA

    def test_users_enter_their_own_account(self):
        self.user.with_user(self.user).write(
            {"matrix_user_id": ANNA, "matrix_display_name": "Anna"}
        )

        self.assertEqual(self.user.matrix_user_id, ANNA)

    def test_users_enter_nobody_elses_account(self):
        with self.assertRaises(AccessError):
            self.manager.with_user(self.user).matrix_user_id = ANNA

    def test_users_take_nobodys_account(self):
        self.manager.matrix_user_id = ANNA
        with self.assertRaisesRegex(ValidationError, "another user"):
            self.user.with_user(self.user).matrix_user_id = ANNA

    def test_customers_in_the_portal_are_nobody_in_matrix(self):
        portal = self.make_user("matrix-portal", "base.group_portal")
        with self.assertRaises(AccessError):
            portal.with_user(portal).matrix_user_id = ANNA

    def test_a_matrix_user_reads_who_others_are(self):
        self.manager.matrix_user_id = ANNA

        [seen] = self.manager.with_user(self.user).read(["matrix_user_id"])

        self.assertEqual(seen["matrix_user_id"], ANNA)

    def test_others_read_only_who_they_are_themselves(self):
        colleague = self.make_user("colleague", "base.group_user")
        colleague.matrix_user_id = ANNA
        with self.assertRaises(AccessError):
            self.user.with_user(colleague).read(["matrix_user_id"])

        [seen] = colleague.with_user(colleague).read(["matrix_user_id"])

        self.assertEqual(seen["matrix_user_id"], ANNA)

    def test_an_account_is_kept_as_matrix_writes_it(self):
        self.user.matrix_user_id = "  @Anna:Example.ORG "

        self.assertEqual(self.user.matrix_user_id, "@Anna:example.org")

    def test_what_is_not_an_account_is_refused(self):
        for text in ("anna", "@anna", "anna:example.org", "@:x", "@a b:c", "#a:b"):
            with self.assertRaisesRegex(ValidationError, "not a valid Matrix"):
                self.user.matrix_user_id = text

    def test_an_account_has_255_bytes_at_most(self):
        self.user.matrix_user_id = "@" + "a" * 252 + ":b"
        with self.assertRaises(ValidationError):
            self.user.matrix_user_id = "@" + "ä" * 127 + ":b"

    def test_one_account_is_one_user(self):
        self.manager.matrix_user_id = ANNA
        self.manager.active = False
        with self.assertRaisesRegex(ValidationError, "another user"):
            self.user.matrix_user_id = "@anna:EXAMPLE.org"
        with self.assertRaisesRegex(ValidationError, "another user"):
            self.make_user("new", "base.group_user", matrix_user_id=ANNA)

    def test_a_manager_is_warned_at_once_of_an_account_that_does_not_exist(self):
        homeserver = Homeserver()
        self.addCleanup(homeserver.stop)
        self.backend.write(
            {"homeserver_url": homeserver.url, "personal_access_token": TOKEN}
        )
        homeserver.answers["GET", f"/profile/{ANNA}"] = (200, {"displayname": "Anna"})
        people = self.user.with_user(self.manager)
        for typed, is_warned in (
            (ANNA, False),
            ("@Anna:example.org", True),
            ("@ana:example.org", True),
            ("@ana:elsewhere.org", False),
            ("ana", False),
            (False, False),
        ):
            changed = people.onchange(
                {"matrix_user_id": typed}, ["matrix_user_id"], {"matrix_user_id": {}}
            )

            self.assertEqual("warning" in changed, is_warned, typed)
            if is_warned:
                self.assertIn(f"no account {typed}", changed["warning"]["message"])

    def test_a_homeserver_that_does_not_answer_does_not_stop_typing(self):
        self.backend.write(
            {"homeserver_url": "http://127.0.0.1:1", "personal_access_token": TOKEN}
        )
        changed = self.user.with_user(self.manager).onchange(
            {"matrix_user_id": ANNA}, ["matrix_user_id"], {}
        )

        self.assertNotIn("warning", changed)

    def test_two_cannot_be_given_one_account_at_once(self):
        with self.assertRaisesRegex(ValidationError, "another user"):
            (self.user | self.manager).matrix_user_id = ANNA

    def test_an_account_can_be_taken_away_and_saved_again(self):
        self.user.matrix_user_id = ANNA
        self.user.matrix_user_id = ANNA
        (self.user | self.manager).matrix_user_id = False

        self.assertFalse(self.user.matrix_user_id)

    def test_the_preferences_open_for_everybody(self):
        view = "base.view_users_form_simple_modif"
        outsider = self.make_user("outsider", "base.group_user")
        for user in (self.user, outsider):
            form = Form(user.with_user(user), view=view)
            form.email = "new@example.org"
            form.save()

            self.assertEqual(user.email, "new@example.org")

    def test_only_the_bot_cannot_be_deleted(self):
        bot = self.env.ref("mail_matrix.user_matrix_bot")
        with self.assertRaisesRegex(UserError, "Matrix Bot"):
            bot.unlink()

        self.make_user("leaver", "base.group_user").unlink()

        # Without its XML ID nobody knows which user it is.
        self.env["ir.model.data"].search(
            [("module", "=", "mail_matrix"), ("name", "=", "user_matrix_bot")]
        ).unlink()
        self.make_user("leaver", "base.group_user").unlink()

    def test_a_manager_sees_people_in_one_list(self):
        people = self.env["res.users"].with_user(self.manager)
        view = self.env.ref("mail_matrix.res_users_view_list_matrix")

        arch = people.get_view(view.id, "list")["arch"]

        self.assertIn("matrix_user_id", arch)
        self.assertEqual(etree.fromstring(arch).get("edit"), "1")
