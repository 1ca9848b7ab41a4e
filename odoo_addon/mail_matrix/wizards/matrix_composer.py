from odoo import api, fields, models
from odoo.exceptions import UserError

from ..tools import content as contents


class MatrixComposer(models.TransientModel):
    """Write to the room of a record, with people mentioned."""

    _name = "matrix.composer"
    _description = "Write to a Matrix Room"

    res_model = fields.Char(required=True)
    res_id = fields.Many2oneReference(model_field="res_model", required=True)
    record_name = fields.Char(string="Room of", compute="_compute_record_name")
    body = fields.Text(
        string="Message",
        help="A Matrix ID in the text, such as @name:example.org, is mentioned too.",
    )
    # The draft on the record when this was opened.
    draft = fields.Text()
    candidate_ids = fields.Many2many(
        comodel_name="res.users", compute="_compute_candidate_ids"
    )
    people_ids = fields.Many2many(
        comodel_name="res.users",
        relation="matrix_composer_people_rel",
        string="Mention",
        help="They get a highlighted notification.",
    )
    mention_ids = fields.Many2many(
        comodel_name="res.users",
        string="Mention Others",
        domain=[("matrix_user_id", "!=", False)],
        help="They get a highlighted notification. Users need a Matrix account for"
        " that.",
    )
    attachment_ids = fields.Many2many(
        comodel_name="ir.attachment", string="Attach Files"
    )
    sends_files = fields.Boolean(compute="_compute_sends_files")
    fullness = fields.Char(compute="_compute_fullness")
    preview = fields.Html(
        string="The Room Will Show", compute="_compute_preview", sanitize=False
    )

    @api.depends("res_model", "res_id")
    def _compute_record_name(self):
        for composer in self:
            composer.record_name = composer._record().display_name

    @api.depends("res_model", "res_id")
    def _compute_candidate_ids(self):
        """Offer the record's people first: they are mentioned most often."""
        for composer in self:
            composer.candidate_ids = composer._record()._matrix_mentionable()

    @api.depends("res_model", "res_id")
    def _compute_sends_files(self):
        for composer in self:
            # With all rights: plain users may not read the backend's health.
            backend = composer._record().sudo()._matrix_backend()
            composer.sends_files = backend.send_files

    @api.depends("body")
    def _compute_fullness(self):
        threads = self.env["matrix.thread.mixin"]
        for composer in self:
            composer.fullness = threads._matrix_fullness(composer.body)

    @api.depends("body", "people_ids", "mention_ids", "res_model", "res_id")
    def _compute_preview(self):
        for composer in self:
            composer.preview = False
            if not (composer.body or "").strip():
                continue
            try:
                rows = composer._record()._matrix_written_rows(*composer._written())
            except UserError:
                # Sending reports the reason: there is no room, or the text is too long.
                continue
            content = rows[0]["content"]
            composer.preview = content.get("formatted_body") or contents.to_html(
                content["body"]
            )

    def _record(self):
        """Return the record, as this user. Raises UserError if it has no room."""
        model = self.env.get(self.res_model)
        if model is None or not hasattr(model, "_matrix_enqueue"):
            raise UserError(
                self.env._("Records of this kind cannot have a Matrix room.")
            )
        return model.browse(self.res_id)

    def _files_for(self, record):
        """Return the files, moved to the record because this wizard will be deleted."""
        files = self.attachment_ids
        # In Odoo 18 only this checks who may read a file.
        files.read(["name"])
        own = files.sudo().filtered(
            lambda file: (
                file.res_model == self._name and file.create_uid == file.env.user
            )
        )
        own.write({"res_model": record._name, "res_id": record.id})
        return files.sudo()

    def action_send(self):
        self.ensure_one()
        record = self._record()
        record._matrix_enqueue(*self._written(), self._files_for(record))
        if record.matrix_message == self.draft:
            # It is sent with this message and must not be sent again from the form.
            record.matrix_message = False
        return record._matrix_queued_notification(
            {"type": "ir.actions.act_window_close"}
        )

    def _written(self):
        """Return the event, the text that names who is mentioned, and the mentions."""
        mentions = [
            (user.matrix_display_name or user.name, user.matrix_user_id)
            for user in self.people_ids | self.mention_ids
        ]
        body = self.body or ""
        unnamed = contents.unnamed(body, [name for name, _user in mentions])
        if unnamed and body.strip():
            body = f"{', '.join(unnamed)}: {body}"
        return "manual", body, mentions
