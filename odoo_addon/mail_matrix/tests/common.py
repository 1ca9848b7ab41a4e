from odoo.tests import TransactionCase


class MatrixCase(TransactionCase):
    """An active backend, a Matrix User and a Matrix Manager."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["matrix.backend"].search([]).is_active = False
        cls.user = cls.make_user("matrix-user", "mail_matrix.group_matrix_user")
        cls.manager = cls.make_user(
            "matrix-manager", "mail_matrix.group_matrix_manager"
        )
        cls.backend = cls.env["matrix.backend"].create(
            {
                "name": "Office",
                "homeserver_url": "https://matrix.example.org",
                "company_id": False,
            }
        )

    @classmethod
    def make_user(cls, login, *groups, **values):
        return (
            cls.env["res.users"]
            .with_context(no_reset_password=True)
            .create(
                {
                    "name": login,
                    "login": login,
                    "email": f"{login}@example.org",
                    cls.groups_field(): [
                        (6, 0, [cls.env.ref(group).id for group in groups])
                    ],
                    **values,
                }
            )
        )

    @classmethod
    def groups_field(cls):
        """Return what 18.0 and 19.0 call the groups of a user."""
        users = cls.env["res.users"]
        return "group_ids" if "group_ids" in users._fields else "groups_id"

    @classmethod
    def commit(cls):
        """Do what a commit does before it reaches the database."""
        cls.env.cr.flush()

    @classmethod
    def clear_outbox(cls):
        cls.env.cr.execute("DELETE FROM matrix_outbox; DELETE FROM matrix_log")

    def outbox(self):
        """Return the waiting rows as the worker sees them, the oldest first."""
        self.env.cr.execute("SELECT * FROM matrix_outbox ORDER BY id")
        return self.env.cr.dictfetchall()

    def bodies(self):
        return [row["content"]["body"] for row in self.outbox()]

    def failures(self):
        self.env.cr.execute(
            "SELECT * FROM matrix_log WHERE status = 'failed' ORDER BY id"
        )
        return self.env.cr.dictfetchall()
