import json
import logging
import os
from unittest.mock import patch

from cryptography.fernet import Fernet

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.modules.neutralize import get_neutralization_queries
from odoo.tests import tagged
from odoo.tools import config, mute_logger

from ..tools import token as tokens
from .common import MatrixCase

TOKEN = "syt_Ym90_QWxhZGRpbjpvcGVu_1sEsAm"  # noqa: S105


@tagged("post_install", "-at_install")
class TestToken(MatrixCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key, cls.other_key = (Fernet.generate_key().decode() for _ in range(2))

    def keys(self, *keys):
        return patch.dict(os.environ, {tokens.KEY_VARIABLE: ",".join(keys)})

    def sealed(self):
        self.backend.flush_recordset()
        self.env.cr.execute(
            "SELECT token_sealed FROM matrix_backend WHERE id = %s", [self.backend.id]
        )
        return self.env.cr.fetchone()[0]

    def set_token(self, token=TOKEN):
        self.backend.with_user(self.manager).personal_access_token = token

    def test_a_token_is_sealed_with_the_key(self):
        with self.keys(self.key):
            self.set_token()

        scheme, _colon, box = self.sealed().partition(":")
        self.assertEqual(scheme, "fernet")
        self.assertEqual(Fernet(self.key).decrypt(box.encode()).decode(), TOKEN)
        with self.keys(self.key):
            self.assertEqual(self.backend._token(), TOKEN)
            self.assertEqual(self.backend.token_state, "sealed")

    def test_the_key_may_stand_in_odoo_conf(self):
        with self.keys(), patch.dict(config.options, {tokens.KEY_OPTION: self.key}):
            self.set_token()
            self.assertTrue(self.sealed().startswith("fernet:"))

    def test_without_a_key_the_token_is_plain_and_the_form_says_so(self):
        with self.keys():
            self.set_token()

            self.assertEqual(self.sealed(), f"plain:{TOKEN}")
            self.assertEqual(self.backend.token_state, "plain")
            self.assertEqual(self.backend._token(), TOKEN)

    def test_a_token_that_no_header_can_carry_is_refused_and_not_repeated(self):
        for token in (TOKEN + "\n", TOKEN[:9] + " " + TOKEN[9:], "ä" + TOKEN):
            with self.assertRaises(ValidationError) as caught:
                self.set_token(token)
            self.assertNotIn(TOKEN[:9], str(caught.exception))

    def test_an_invalid_key_is_reported_without_the_key(self):
        with self.keys("no-key"), self.assertRaises(UserError) as caught:
            self.set_token()

        self.assertIn(tokens.KEY_OPTION, str(caught.exception))
        self.assertNotIn("no-key", str(caught.exception))

    def test_a_token_of_another_key_is_reported_and_not_used(self):
        with self.keys(self.key):
            self.set_token()

        with self.keys(self.other_key):
            self.backend.invalidate_recordset()
            self.assertEqual(self.backend.token_state, "lost")
            with self.assertRaisesRegex(UserError, tokens.KEY_OPTION):
                self.backend._token()

    def test_an_empty_field_keeps_the_token_and_the_button_forgets_it(self):
        self.set_token()
        for nothing in (False, ""):
            self.set_token(nothing)
            self.assertEqual(self.backend._token(), TOKEN)

        self.backend.with_user(self.manager).action_forget_token()

        with self.assertRaisesRegex(UserError, "no access token"):
            self.backend._token()

    def test_a_new_key_takes_over_and_the_old_one_can_go(self):
        with self.keys(self.key):
            self.set_token()
        with self.keys(self.other_key, self.key):
            self.assertEqual(self.backend._rotate_token_key(), 1)
        with self.keys(self.other_key):
            self.assertEqual(self.backend._token(), TOKEN)

    def test_a_new_key_takes_over_the_secret_of_messages_from_rooms(self):
        with self.keys(self.key):
            self.set_token()
            self.backend.inbound_mode = "follow"
            secret = self.backend._inbound_secret()
            self.assertTrue(secret)
        with self.keys(self.other_key, self.key):
            self.backend._rotate_token_key()
        with self.keys(self.other_key):
            self.assertEqual(self.backend._inbound_secret(), secret)
            self.assertTrue(self.backend._knows_inbound_secret(secret))

    def test_a_new_key_takes_over_the_token_of_the_registration_file(self):
        with self.keys(self.key):
            self.set_token()
            self.backend.appservice_token_sealed = self.backend._seal("as_token")
        with self.keys(self.other_key), self.assertRaisesRegex(UserError, "registrat"):
            self.backend._appservice_token()
        with self.keys(self.other_key, self.key):
            self.backend._rotate_token_key()
        with self.keys(self.other_key):
            self.assertEqual(self.backend._token(), TOKEN)
            self.assertEqual(self.backend._appservice_token(), "as_token")

    def test_a_secret_that_no_key_opens_stops_the_rotation(self):
        """The old key would be taken out, and messages from rooms be refused."""
        with self.keys(self.key):
            self.backend.inbound_mode = "follow"
        with self.keys(self.other_key), self.assertRaisesRegex(UserError, "rooms"):
            self.backend._rotate_token_key()

    def test_a_token_stored_before_its_key_is_recognised(self):
        with self.keys():
            self.set_token()
            self.assertEqual(self.backend.token_state, "plain")
        with self.keys(self.key):
            self.backend.invalidate_recordset()
            self.assertEqual(self.backend.token_state, "unsealed")
            self.backend._rotate_token_key()
            self.assertEqual(self.backend.token_state, "sealed")

    def test_turning_to_a_key_seals_what_was_plain(self):
        with self.keys():
            self.set_token()
            with self.assertRaisesRegex(UserError, tokens.KEY_VARIABLE):
                self.backend._rotate_token_key()
        with self.keys(self.key):
            self.backend._rotate_token_key()
            self.assertTrue(self.sealed().startswith("fernet:"))
            self.assertEqual(self.backend._token(), TOKEN)

    def test_another_server_does_not_get_the_token(self):
        for values in (
            {"homeserver_url": "https://other.example.org"},
            {"homeserver_url": "http://matrix.example.org"},
            {"homeserver_url": "https://matrix.example.org:8448"},
            {"verify_ssl": False},
        ):
            self.backend.write(
                {"homeserver_url": "https://matrix.example.org", "verify_ssl": True}
            )
            self.set_token()
            self.backend.with_user(self.manager).write(values)

            self.assertIsNone(self.sealed(), values)
            self.assertEqual(self.backend.token_state, "none")

    def test_the_same_server_keeps_the_token(self):
        self.set_token()
        for values in (
            {"homeserver_url": "https://matrix.example.org:443/base/"},
            {"homeserver_url": " https://MATRIX.example.org "},
            {"verify_ssl": True, "name": "Other name"},
        ):
            self.backend.with_user(self.manager).write(values)

            self.assertEqual(self.backend._token(), TOKEN, values)

    def test_a_token_that_comes_with_its_server_is_kept(self):
        self.set_token("the-old-one")
        self.backend.with_user(self.manager).write(
            {
                "homeserver_url": "https://other.example.org",
                "verify_ssl": False,
                "personal_access_token": TOKEN,
            }
        )

        self.assertEqual(self.backend._token(), TOKEN)

    def test_the_form_warns_before_the_token_is_forgotten(self):
        self.set_token()

        def warned(changed, **values):
            return self.backend.with_user(self.manager).onchange(
                {
                    "homeserver_url": self.backend.homeserver_url,
                    "verify_ssl": True,
                    "personal_access_token": False,
                    **values,
                },
                [changed],
                {"homeserver_url": {}, "verify_ssl": {}, "personal_access_token": {}},
            )

        other = "https://other.example.org"
        for found in (
            warned("homeserver_url", homeserver_url=other),
            warned("verify_ssl", verify_ssl=False),
        ):
            self.assertIn("removed when you save", found["warning"]["message"])
        self.assertNotIn(
            "warning",
            warned("homeserver_url", homeserver_url=other, personal_access_token="new"),
        )
        same = self.backend.homeserver_url + "/base"
        self.assertNotIn("warning", warned("homeserver_url", homeserver_url=same))
        self.backend.action_forget_token()
        self.assertNotIn("warning", warned("homeserver_url", homeserver_url=other))

    def test_users_neither_set_nor_forget_the_token(self):
        self.set_token()
        backend = self.backend.with_user(self.user)

        with self.assertRaises(AccessError):
            backend.personal_access_token = "other"
        with self.assertRaises(AccessError):
            backend.action_forget_token()
        self.assertEqual(self.backend._token(), TOKEN)

    def test_a_neutralized_copy_has_no_token(self):
        self.set_token()
        self.backend.flush_recordset()
        self.env.cr.execute(
            """
            INSERT INTO matrix_crypto (backend_id, matrix_user_id, device_id, epoch,
                owner, database_identity, timeline_id, written_by)
            VALUES (%(backend)s, '@bot:x', 'ODOO', 1, 'w1/1', 'x', 1, 1);
            INSERT INTO matrix_crypto_item (backend_id, kind, key, sealed)
            VALUES (%(backend)s, 'account', '', 'fernet:x');
            """,
            {"backend": self.backend.id},
        )
        for query in get_neutralization_queries(["mail_matrix"]):
            self.env.cr.execute(query)
        self.backend.invalidate_recordset()

        self.assertIsNone(self.sealed())
        self.assertFalse(self.backend.is_active)
        self.env.cr.execute(
            "SELECT FROM matrix_crypto UNION ALL SELECT FROM matrix_crypto_item"
        )
        self.assertFalse(self.env.cr.fetchall())


@tagged("post_install", "-at_install")
class TestTokenLeaks(MatrixCase):
    """The token is looked for wherever a manager, who may do most, can look."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.let_export(cls.manager)
        cls.env = cls.env(user=cls.manager)
        cls.backend = cls.backend.with_env(cls.env)

    def assertNoToken(self, value):
        text = json.dumps(value, default=str) + repr(value)
        self.assertNotIn(TOKEN, text)
        self.assertNotIn("plain:", text)

    def test_no_read_gives_it_back_not_even_in_the_same_transaction(self):
        fields = [name for name in self.backend.fields_get() if name != "token_sealed"]
        self.assertIn("personal_access_token", fields)

        created = self.backend.create(
            {
                "name": "New",
                "homeserver_url": "http://localhost",
                "company_id": self.env.company.id,
                "personal_access_token": TOKEN,
            }
        )
        saved = created.web_save(
            {"personal_access_token": TOKEN}, {name: {} for name in fields}
        )

        self.assertTrue(created.sudo().token_sealed, "The test has something to find")
        self.assertNoToken(saved)
        self.assertNoToken(created.read())
        self.assertNoToken(created.web_read({name: {} for name in fields}))
        self.assertNoToken(created.search_read([], fields))
        self.assertNoToken(created.export_data(fields))
        self.assertNoToken(created.copy_data())
        self.assertNoToken(created.name_search())
        self.assertNoToken(
            created.onchange({"personal_access_token": TOKEN}, [], {"name": {}})
        )

    def test_the_sealed_column_is_out_of_reach(self):
        self.backend.personal_access_token = TOKEN
        self.assertNotIn("token_sealed", self.backend.fields_get())

        for forbidden in (
            lambda: self.backend.read(["token_sealed"]),
            lambda: self.backend.search([("token_sealed", "like", "plain")]),
            lambda: self.backend.search([], order="token_sealed"),
            lambda: self.counts_by(self.backend, "token_sealed"),
            lambda: self.backend.export_data(["token_sealed"]),
            lambda: self.backend.write({"token_sealed": "plain:other"}),
            lambda: self.backend.mapped("token_sealed"),
            lambda: self.backend.filtered_domain([("token_sealed", "!=", False)]),
        ):
            with self.assertRaises(Exception) as caught, mute_logger("odoo.models"):
                forbidden()
            self.assertIsInstance(caught.exception, AccessError | ValueError)
            self.assertNoToken(str(caught.exception))

    def test_no_view_and_no_log_line_holds_it(self):
        with self.assertLogs(level=logging.INFO) as logs:
            logging.getLogger(__name__).warning("There is at least one line")
            # Nothing listens there.
            self.backend.write(
                {
                    "homeserver_url": "http://127.0.0.1:1",
                    "personal_access_token": TOKEN,
                }
            )
            self.backend.flush_recordset()
            for kind in ("list", "form", "search", "kanban"):
                self.assertNoToken(self.backend.get_view(view_type=kind))
            self.assertNoToken(self.backend.action_test_connection())

        self.assertNoToken(logs.output)
