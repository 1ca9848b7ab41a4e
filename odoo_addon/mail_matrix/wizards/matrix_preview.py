from odoo import api, fields, models
from odoo.exceptions import UserError

from ..models.matrix_backend.connection import notification
from ..tools.rehearsal import rehearsal


class MatrixPreview(models.TransientModel):
    """What a room would read of a real record."""

    _name = "matrix.preview"
    _description = "Preview of a Matrix Message"

    backend_id = fields.Many2one("matrix.backend", required=True)
    event_type = fields.Selection(
        selection="_selection_event_type",
        string="Event",
        required=True,
        default=lambda self: self._default_event_type(),
    )
    record_ref = fields.Reference(
        selection="_selection_record_ref",
        string="Record",
        default=lambda self: self._default_record_ref(),
    )
    body = fields.Text(string="As Plain Text", compute="_compute_message")
    html = fields.Html(string="As Shown in Element", compute="_compute_message")
    problem = fields.Char(compute="_compute_message")

    @api.model
    def _selection_event_type(self):
        """Return the events that have a text on the backend."""
        names = (
            self.env["matrix.log"]
            ._fields["event_type"]
            ._description_selection(self.env)
        )
        backend = self.env["matrix.backend"]
        return [
            (key, name) for key, name in names if f"template_{key}" in backend._fields
        ]

    @api.model
    def _default_event_type(self):
        """Return the first event of a record itself that can be shown, else the
        test."""
        keys = [key for key, _name in self._selection_event_type()]
        own = (key for key in keys if key not in ("chatter", "test"))
        return next((key for key in own if self._first_record(key)), "test")

    @api.model
    def _selection_record_ref(self):
        models_ = self.env["matrix.backend"]._template_models()
        return [(name, self.env["ir.model"]._get(name).name) for name in models_]

    @api.model
    def _default_record_ref(self):
        return self._first_record(self._default_event_type())

    @api.model
    def _first_record(self, event_type):
        """Return a record that has this event, in the field's format, or False."""
        for model in self.env["matrix.backend"]._template_models():
            records = self.env[model]
            if event_type in records._matrix_event_types() and records.has_access(
                "read"
            ):
                record = records.search(self._has_message(event_type), limit=1)
                if record:
                    return f"{model},{record.id}"
        return False

    @api.model
    def _has_message(self, event_type):
        """Return the domain of the records that have what this event sends."""
        is_chatter = event_type == "chatter"
        return [("message_ids.message_type", "=", "comment")] if is_chatter else []

    @api.onchange("event_type")
    def _onchange_event_type(self):
        if self.event_type and not self._is_fitting():
            self.record_ref = self._first_record(self.event_type)

    @api.onchange("record_ref")
    def _onchange_record_ref(self):
        if self.record_ref and not self._is_fitting():
            events = self.record_ref._matrix_event_types()
            self.event_type = next((event for event in events), False)

    def _is_fitting(self):
        record = self.record_ref
        return bool(record) and self.event_type in record._matrix_event_types()

    @api.depends("backend_id", "event_type", "record_ref")
    def _compute_message(self):
        for preview in self:
            content = {}
            if preview.record_ref and preview.event_type:
                content, preview.problem = preview._content()
            else:
                preview.problem = False
            preview.body = content.get("body")
            preview.html = content.get("formatted_body")

    def _content(self, text=None):
        """Return the content of the message and False, or {} and why there is none.

        :param text: (record, field, source) of a text that is not saved yet
        """
        try:
            return self._row(text)["content"], False
        except Exception as error:
            self.env["matrix.outbox"]._raise_if_to_run_again(error)
            return {}, str(error)

    def action_send_to_me(self):
        """Queue the text as a direct message to the user who looks at it."""
        self.ensure_one()
        self.check_access("read")
        account = self.env.user._matrix_own_account()
        backend = self.backend_id
        if not backend.is_active:
            raise UserError(
                self.env._(
                    "The Matrix backend “%(backend)s” is turned off and sends nothing. "
                    "Turn it on first.",
                    backend=backend.name,
                )
            )
        if self.problem:
            raise UserError(self.problem)
        row = self._row()
        # Not linked to the chatter message: its edits are not for this direct chat.
        row.pop("message_id", None)
        row.pop("subject", None)
        target = self.env["matrix.contact"]._direct_values(backend.sudo(), account)
        self.env["matrix.outbox"]._insert_rows([{**row, **target, "event_type": "dm"}])
        return notification(
            "info",
            self.env._("On its way to you"),
            self.env._(
                "%(account)s will find it in the direct chat with Odoo. The first "
                "message brings an invitation to that chat.",
                account=account,
            ),
        )

    def _row(self, text=None):
        """Return the outbox row that the event would have, rendered with all rights as
        at commit."""
        if not self._is_fitting():
            raise UserError(
                self.env._(
                    "This event does not exist for this kind of record: choose "
                    "another record or event."
                )
            )
        record, backend, event_type = self.record_ref, self.backend_id, self.event_type
        record.check_access("read")
        backend.check_access("read")
        with rehearsal(self.env) as env:
            if text:
                holder, name, source = text
                holder.with_env(env)._matrix_try_text(name, source)
            event = env[record._name].browse(record.id).sudo()
            if event_type == "chatter":
                message = self._last_comment(env, record)
                event = event.with_context(matrix_message_id=message.id)
            backend = env["matrix.backend"].browse(backend.id).sudo()
            return event._matrix_row(event_type, backend, {})

    @api.model
    def _last_comment(self, env, record):
        message = env["mail.message"].search(
            [
                ("model", "=", record._name),
                ("res_id", "=", record.id),
                ("message_type", "=", "comment"),
            ],
            limit=1,
        )
        if not message:
            raise UserError(
                self.env._(
                    "This record has no chatter messages yet: choose another one."
                )
            )
        return message
