from textwrap import shorten

from odoo import api, fields, models
from odoo.tools import SQL

from ...tools import words

_MAX_ERROR_BYTES = 1024
_MAX_NAME = 80


class MatrixLog(models.Model):
    """One row for each outcome. The worker writes it; managers read it."""

    _name = "matrix.log"
    _inherit = "matrix.readable.mixin"
    _description = "Matrix Delivery"
    _auto = False
    _log_access = False
    _order = "id desc"
    _rec_name = "payload"

    date = fields.Datetime(readonly=True)
    outbox_id = fields.Integer(readonly=True)
    # Shown as one line in a list, however long it is.
    payload = fields.Char(string="Text", readonly=True)
    status = fields.Selection(words.STATUSES, readonly=True)
    is_final = fields.Boolean(
        string="Final",
        readonly=True,
        help="Off: not sent yet. It will be sent when the homeserver is available "
        "again.",
    )
    error_code = fields.Char(readonly=True)
    error_message = fields.Char(string="Error", readonly=True)
    attempts = fields.Integer(readonly=True, aggregator="sum")
    duration_ms = fields.Integer(
        string="Duration (ms)", readonly=True, aggregator="avg"
    )
    matrix_event_id = fields.Char(string="Event ID", readonly=True)
    worker = fields.Char(readonly=True)
    outcome = fields.Selection(words.OUTCOMES, compute="_compute_outcome")

    # status, is_final and date are the same for all rows that Odoo inserts.
    _INSERTED = (
        "backend_id",
        "event_type",
        "res_model",
        "res_id",
        "room_id",
        "user_id",
        "error_code",
        "error_message",
    )

    @api.depends("payload", "event_type")
    def _compute_display_name(self):
        events = dict(self._fields["event_type"]._description_selection(self.env))
        for row in self:
            words = row.payload or events.get(row.event_type) or ""
            row.display_name = shorten(words, _MAX_NAME, placeholder="…")

    @api.depends("status", "is_final", "error_code")
    def _compute_outcome(self):
        for row in self:
            row.outcome = row.status if row.is_final else "held"
            if row.error_code in words.NOT_POSTED:
                row.outcome = "not_posted"
            elif row.error_code in words.OTHER_OUTCOMES:
                row.outcome = words.OTHER_OUTCOMES[row.error_code]

    @api.model
    def _insert_failures(self, failures):
        """Log events that did not become messages, by one statement."""
        if not failures:
            return
        rows = [
            ("failed", *(failure.get(name) or None for name in self._INSERTED))
            for failure in map(self._bound, failures)
        ]
        self.env.cr.execute(
            SQL(
                "INSERT INTO matrix_log (status, %s) VALUES %s",
                SQL(", ").join(map(SQL.identifier, self._INSERTED)),
                SQL(", ").join(SQL("%s", row) for row in rows),
            )
        )

    @api.model
    def _bound(self, failure):
        message = failure["error_message"].encode()[:_MAX_ERROR_BYTES]
        return {**failure, "error_message": message.decode("utf-8", "ignore")}
