from odoo.exceptions import AccessError, UserError

from .common import MatrixCase


class TestHome(MatrixCase):
    """A copied database must not post in the rooms of the original."""

    def setUp(self):
        super().setUp()
        self.backend.personal_access_token = "syt_home"

    def copy_database(self):
        """Leave the backend as a copy of its database finds it."""
        self.env.cr.execute("UPDATE matrix_backend SET database_identity = '1/2'")
        self.env.invalidate_all()

    def test_a_backend_is_at_home_where_it_was_made(self):
        self.assertFalse(self.backend.with_user(self.manager).is_elsewhere)
        self.assertFalse(self.backend.copy().is_elsewhere)

    def test_nothing_is_asked_of_the_homeserver_from_a_copy(self):
        self.copy_database()
        backend = self.backend.with_user(self.manager)

        self.assertTrue(backend.is_elsewhere)
        with self.assertRaisesRegex(UserError, "Use It Here"):
            backend._client()

    def test_a_manager_uses_the_backend_of_a_moved_database(self):
        self.copy_database()
        backend = self.backend.with_user(self.manager)
        before = backend.sudo().config_version

        backend.action_use_here()

        self.env.invalidate_all()
        self.assertFalse(backend.is_elsewhere)
        self.assertGreater(
            backend.sudo().config_version, before, "the worker must notice it"
        )
        backend._client()

    def test_others_cannot_use_it(self):
        self.copy_database()
        with self.assertRaises(AccessError):
            self.backend.with_user(self.user).action_use_here()
