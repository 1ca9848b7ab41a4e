from odoo import api, fields, models
from odoo.exceptions import UserError


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
    body = fields.Text(string="Plain Text", compute="_compute_message")
    html = fields.Html(string="As Shown", compute="_compute_message")
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
        """Return the first event of a record itself, else the test."""
        keys = [key for key, _name in self._selection_event_type()]
        return next((key for key in keys if key not in ("chatter", "test")), "test")

    @api.model
    def _selection_record_ref(self):
        models_ = self.env["matrix.backend"]._template_models()
        return [(name, self.env["ir.model"]._get(name).name) for name in models_]

    @api.model
    def _default_record_ref(self):
        for model in self.env["matrix.backend"]._template_models():
            if self.env[model].has_access("read"):
                record = self.env[model].search([], limit=1)
                if record:
                    return f"{model},{record.id}"
        return False

    @api.depends("backend_id", "event_type", "record_ref")
    def _compute_message(self):
        for preview in self:
            preview.body = preview.html = preview.problem = False
            record = preview.record_ref
            if not record or not preview.event_type:
                continue
            try:
                row = preview._row(record)
            except Exception as error:
                preview.problem = str(error)
                continue
            preview.body = row["content"]["body"]
            preview.html = row["content"].get("formatted_body")

    def _row(self, record):
        """Return the row that the event would make, with all rights as at commit."""
        record.check_access("read")
        event = record.sudo()
        if self.event_type == "chatter":
            message = self.env["mail.message"].search(
                [
                    ("model", "=", record._name),
                    ("res_id", "=", record.id),
                    ("message_type", "=", "comment"),
                ],
                limit=1,
            )
            if not message:
                raise UserError(
                    self.env._("Nobody has written on this record yet: choose another.")
                )
            event = event.with_context(matrix_message_id=message.id)
        return event._matrix_row(self.event_type, self.backend_id.sudo(), {})
