from textwrap import shorten

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..tools import words

_MAX_ERROR_BYTES = 1024
_MAX_NAME = 80


class MatrixLog(models.Model):
    """One row for each outcome. The worker writes it; managers read it."""

    _name = "matrix.log"
    _inherit = "matrix.message.mixin"
    _description = "Matrix Delivery"
    _auto = False
    _log_access = False
    _order = "id desc"
    _rec_name = "payload"

    date = fields.Datetime(readonly=True)
    outbox_id = fields.Integer(readonly=True)
    # One line in a list, however long it is.
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
    outcome = fields.Selection(
        [
            ("ok", "Sent"),
            ("failed", "Failed"),
            ("held", "Waiting for the homeserver"),
            ("untold", "Not sent"),
        ],
        compute="_compute_outcome",
    )
    record_ref = fields.Reference(
        selection="_selection_record_ref",
        string="Record",
        compute="_compute_record_ref",
    )
    hint = fields.Char(string="What to Do", compute="_compute_hint")

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
            if row.error_code in words.NOT_TOLD:
                row.outcome = "untold"

    @api.model
    def _selection_record_ref(self):
        models = self.env["ir.model"].sudo().search([("transient", "=", False)])
        return [(model.model, model.name) for model in models]

    @api.depends("res_model", "res_id")
    @api.depends_context("uid")
    def _compute_record_ref(self):
        """Name the record only where it exists and this user may read it."""
        for model, rows in self.grouped("res_model").items():
            readable = set(self._readable_ids(model, rows.mapped("res_id")))
            for row in rows:
                found = row.res_id in readable
                row.record_ref = f"{model},{row.res_id}" if found else False

    @api.depends("error_code", "is_final", "event_type", "matrix_user_id")
    def _compute_hint(self):
        hints = self._hints()
        of_actions = {**hints, **self._hints_of_actions()}
        of_people = {**hints, **self._hints_of_people()}
        for row in self:
            own = of_actions if row.event_type == "automation" else hints
            own = of_people if row.matrix_user_id else own
            row.hint = own.get(row.error_code) if row.is_final else False

    @api.model
    def _hints(self):
        """Return by error code what a manager can do about it."""
        backend = self.env._("Correct the backend, test the connection, then retry.")
        return {
            "M_FORBIDDEN": self.env._("Retry once the account can post in the room."),
            "M_TOO_LARGE": self.env._(
                "Write a new, shorter message: this one cannot be changed."
            ),
            "M_UNKNOWN_TOKEN": backend,
            "org.odoo.token": backend,
            "org.odoo.url": backend,
            "org.odoo.redirect": backend,
            "org.odoo.not_matrix": backend,
            "org.odoo.unreachable": self.env._(
                "Test the connection on the backend, then retry."
            ),
            "org.odoo.timeout": self.env._(
                "Test the connection on the backend, then retry."
            ),
            "org.odoo.expired": self.env._(
                "It waited longer than the backend allows. Send it again if it is "
                "still relevant."
            ),
            "org.odoo.room_replaced": self.env._(
                "The room was replaced. Enter the new room on the record, then send "
                "again."
            ),
            words.ERROR_ENCRYPTED: self.env._(
                "Link a room without encryption, or allow “Send Unencrypted” on the "
                "record; then send again."
            ),
            words.ERROR_ROOM: self.env._(
                "Correct the room on the record. This event will not be sent later."
            ),
            words.ERROR_NO_ROOM: self.env._(
                "Link or create a room on the record, or enter a default room on the "
                "backend. What happened before is not sent later, except that the "
                "record was created."
            ),
            words.ERROR_OFF: self.env._("Turn on “Send to Matrix” on the record."),
            words.ERROR_TEMPLATE: self.env._(
                "Correct the text where the error says. This event will not be sent "
                "later."
            ),
        }

    @api.model
    def _hints_of_actions(self):
        """Return the hints that differ for messages of server actions."""
        return {
            words.ERROR_ROOM: self.env._(
                "Enter a room on the record or on the server action. This event will "
                "not be sent later."
            ),
            words.ERROR_NO_RECORD: self.env._(
                "Let an automation rule run the action when records are created, "
                "changed or due, not when they are deleted."
            ),
        }

    @api.model
    def _hints_of_people(self):
        """Return the hints that differ for direct messages, which have no record."""
        return {
            "M_FORBIDDEN": self.env._(
                "The account may not write to this person. If the person has blocked "
                "it, ask them to allow it, then retry."
            ),
            words.ERROR_NO_SUCH_USER: self.env._(
                "Check the Matrix ID for spelling mistakes, correct it on the contact "
                "or user, then write the message again."
            ),
            words.ERROR_ENCRYPTED: self.env._(
                "Odoo cannot encrypt, and the homeserver encrypts every new room. Ask "
                "its administrator to turn that off, then retry."
            ),
        }

    def action_open_record(self):
        self.ensure_one()
        if not self.record_ref:
            raise UserError(
                self.env._("This record was deleted, or you may not read it.")
            )
        return self.record_ref.get_formview_action()

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
