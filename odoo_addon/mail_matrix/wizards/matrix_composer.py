from odoo import api, fields, models
from odoo.exceptions import UserError

from ..tools import content as contents


class MatrixComposer(models.TransientModel):
    """Write to the room of a record, with people mentioned."""

    _name = "matrix.composer"
    _description = "Write to a Matrix Room"

    res_model = fields.Char(required=True)
    res_id = fields.Many2oneReference(model_field="res_model", required=True)
    record_name = fields.Char(string="To the Room of", compute="_compute_record_name")
    body = fields.Text(string="Message", required=True)
    mention_ids = fields.Many2many(
        comodel_name="res.users",
        domain=[("matrix_user_id", "!=", False)],
        help="They are notified loudly. Users need a Matrix account for that.",
    )
    fullness = fields.Char(compute="_compute_fullness")

    @api.depends("res_model", "res_id")
    def _compute_record_name(self):
        for composer in self:
            composer.record_name = composer._record().display_name

    @api.depends("body")
    def _compute_fullness(self):
        limit = contents.MAX_CONTENT_BYTES
        for composer in self:
            used = contents.size({"body": contents.clean(composer.body)})
            composer.fullness = self.env._(
                "%(percent)s %% of what a message holds", percent=used * 100 // limit
            )

    def _record(self):
        """Return the record, as this user. Raises UserError where it has no room."""
        model = self.env.get(self.res_model)
        if model is None or not hasattr(model, "_matrix_enqueue"):
            raise UserError(self.env._("Such records have no rooms in Matrix."))
        return model.browse(self.res_id)

    def action_send(self):
        self.ensure_one()
        record = self._record()
        mentions = {
            user.matrix_display_name or user.name: user.matrix_user_id
            for user in self.mention_ids
        }
        body = self.body or ""
        unnamed = [name for name in mentions if name not in body]
        if unnamed and body.strip():
            body = f"{', '.join(unnamed)}: {body}"
        record._matrix_enqueue("manual", body, mentions)
        return record._matrix_queued_notification(
            {"type": "ir.actions.act_window_close"}
        )
