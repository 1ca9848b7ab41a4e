from odoo import api, fields, models
from odoo.tools import SQL
from odoo.tools.sql import index_exists

from .matrix_deliveries_mixin import USER

_KEPT_DAYS = 180
_ONCE = "matrix_draft_one_per_person"


class MatrixDraft(models.Model):
    """A text that a person has begun to write to a room. Nobody else can read it."""

    _name = "matrix.draft"
    _description = "Matrix Draft"
    _log_access = False

    user_id = fields.Many2one(
        "res.users", required=True, ondelete="cascade", readonly=True
    )
    res_model = fields.Char(required=True, readonly=True)
    res_id = fields.Many2oneReference(
        model_field="res_model", required=True, readonly=True
    )
    body = fields.Text(required=True, readonly=True)
    written_at = fields.Datetime(required=True, readonly=True)

    def init(self):
        # Even if it exists, CREATE INDEX IF NOT EXISTS would lock the table.
        if not index_exists(self.env.cr, _ONCE):
            self.env.cr.execute(
                SQL(
                    "CREATE UNIQUE INDEX %s "
                    "ON matrix_draft (res_model, res_id, user_id)",
                    SQL.identifier(_ONCE),
                )
            )

    @api.model
    def _store(self, record, body):
        """Store what this person writes to the room of ``record``.

        By one statement: if the same person has just saved another window, PostgreSQL
        asks for the transaction to be run again.
        """
        self.flush_model()
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO matrix_draft (res_model, res_id, user_id, body, written_at)
                VALUES (%s, %s, %s, %s, now() AT TIME ZONE 'UTC')
                ON CONFLICT (res_model, res_id, user_id) DO UPDATE
                SET body = excluded.body, written_at = excluded.written_at
                """,
                record._name,
                record.id,
                self.env.uid,
                body,
            )
        )
        self.invalidate_model()

    @api.autovacuum
    def _gc_drafts(self):
        """Delete drafts that nobody came back to."""
        self.env.cr.execute(
            SQL(
                "DELETE FROM matrix_draft "
                "WHERE written_at < now() AT TIME ZONE 'UTC' - %s * interval '1 day'",
                _KEPT_DAYS,
            )
        )


class MatrixThreadMixin(models.AbstractModel):
    """The text that is being written belongs to the person who writes it."""

    _inherit = "matrix.thread.mixin"

    matrix_message = fields.Text(
        string="Message",
        compute="_compute_matrix_message",
        inverse="_inverse_matrix_message",
        groups=USER,
    )

    @api.depends_context("uid")
    def _compute_matrix_message(self):
        drafts = self._matrix_drafts()
        bodies = {draft.res_id: draft.body for draft in drafts}
        for record in self:
            record.matrix_message = bodies.get(record._origin.id, False)

    def _inverse_matrix_message(self):
        self._matrix_check_user()
        drafts = self._matrix_drafts()
        before = {draft.res_id: draft for draft in drafts}
        for record in self:
            if record.matrix_message:
                drafts._store(record, record.matrix_message)
            elif record.id in before:
                before[record.id].unlink()

    def _matrix_drafts(self):
        """Return this person's own drafts, with all rights: no group has access."""
        return (
            self.env["matrix.draft"]
            .sudo()
            .search(
                [
                    ("user_id", "=", self.env.uid),
                    ("res_model", "=", self._name),
                    ("res_id", "in", self._origin.ids),
                ]
            )
        )
