from odoo import fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL


class MatrixBackend(models.Model):
    """The database that a backend belongs to: a copy of it must not send.

    The column database_identity is unknown to the ORM: the database sets it when the
    row is created, and only action_use_here() may write it.
    """

    _inherit = "matrix.backend"

    is_elsewhere = fields.Boolean(
        string="In a Copied Database",
        compute="_compute_is_elsewhere",
        groups="mail_matrix.group_matrix_manager",
        help="Set up in another database, of which this one is a copy.",
    )

    def _compute_is_elsewhere(self):
        stored = self._origin
        stored.flush_recordset()
        rows = self.env.execute_query(
            SQL(
                """
                SELECT id FROM matrix_backend
                WHERE id = ANY(%s)
                    AND database_identity IS DISTINCT FROM matrix_database_identity()
                """,
                stored.ids,
            )
        )
        elsewhere = {backend_id for (backend_id,) in rows}
        for backend in self:
            backend.is_elsewhere = backend._origin.id in elsewhere

    def action_use_here(self):
        """Let this database send, after it was moved here."""
        self.ensure_one()
        self.check_access("write")
        self.env.cr.execute(
            SQL(
                """
                UPDATE matrix_backend
                SET database_identity = matrix_database_identity() WHERE id = %s
                """,
                self.id,
            )
        )
        self.invalidate_recordset()

    def _client(self, **timeouts):
        """Return the client of this account, unless it belongs to another database."""
        # With all rights: not only managers use the account.
        if self.sudo().is_elsewhere:
            raise UserError(
                self.env._(
                    "“%(backend)s” was set up in another database, and this one is a "
                    "copy of it: nothing is sent from here. If the database was moved "
                    "and the other one is no longer in use, a Matrix Manager can click "
                    "“Use It Here” on the backend.",
                    backend=self.name,
                )
            )
        return super()._client(**timeouts)
