from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..tools import content as contents
from ..tools import words
from ..tools.rehearsal import rehearsal


class IrActionsServer(models.Model):
    """A server action that posts a message in a room, for any model without a mixin.

    Like every event it becomes a message at commit, and never makes its transaction
    fail.
    """

    _name = "ir.actions.server"
    _inherit = ["ir.actions.server", "matrix.text.mixin"]

    state = fields.Selection(
        selection_add=[("matrix", "Send Matrix Message"), ("webhook",)],
        ondelete={"matrix": "cascade"},
    )
    matrix_backend_id = fields.Many2one(
        "matrix.backend",
        ondelete="restrict",
        help="Empty: the active backend of the record's company.",
    )
    matrix_room = fields.Char(
        string="Room in Matrix",
        help="Room ID, or an expression for it such as {{ object.project_id.room }}. "
        "Empty: the room of the record, else the backend's default room.",
    )
    matrix_template = fields.Text(
        string="Matrix Text",
        help="For example: {{ object.name }} is due on {{ object.date }}",
    )
    matrix_message_type = fields.Selection(words.MESSAGE_TYPES, default="m.text")

    @api.constrains("state", "usage", "model_id", "matrix_room", "matrix_template")
    def _check_matrix(self):
        for action in self.filtered(lambda action: action.state == "matrix"):
            if action.usage == "ir_cron":
                raise ValidationError(
                    self.env._(
                        "A scheduled action does not run on a record, so there is "
                        "nothing to send a message about. Use an automation rule "
                        "based on a date instead."
                    )
                )
            if not action.matrix_template:
                raise ValidationError(
                    self.env._("Enter the text that is sent to Matrix.")
                )
            action._matrix_check_texts(self._matrix_text_fields())
            room = action.matrix_room
            if room and "{{" not in room and not contents.is_room_id(room):
                raise ValidationError(
                    self.env._(
                        "“%(room)s” is not a valid room ID, which begins with “!”.",
                        room=room,
                    )
                )

    @api.model
    def _matrix_text_fields(self):
        return {"matrix_room", "matrix_template"}

    def _matrix_text_scope(self, name):
        return [self.model_id.model], ()

    def _matrix_check_text_reader(self, name):
        # A text about any model is tried with all rights: only for people who may write
        # such actions.
        self.check_access("write")
        return super()._matrix_check_text_reader(name)

    def _matrix_text_sample(self, name, models_):
        records = self.env.get(models_[0])
        if records is None or records._abstract or not records.has_access("read"):
            return None, None
        return "automation", records.search([], limit=1)

    def _matrix_text_content(self, name, source, event_type, record):
        outbox = self.env["matrix.outbox"]
        try:
            with rehearsal(self.env) as env:
                backend = self.matrix_backend_id.with_env(env).sudo()
                record = env[record._name].browse(record.id).sudo()
                backend = backend or env["matrix.backend"]._active_for_record(record)
                record = outbox._in_language_of(record, record)
                row = env["matrix.outbox"]._rendered_row(
                    backend, event_type, source, record, {}, {}
                )
                return row["content"], False
        except Exception as error:
            outbox._raise_if_to_run_again(error)
            return {}, str(error)

    def _matrix_text_place(self, name):
        label = self._fields[name]._description_string(self.env)
        return f"{self._matrix_place('automation')}, {label}"

    def _matrix_text_problem(self, name):
        # Actions of other kinds never render the texts in these fields.
        return super()._matrix_text_problem(name) if self.state == "matrix" else None

    def _run_action_matrix_multi(self, eval_context=None):
        context = eval_context or {}
        records = context.get("records") or context.get("record")
        if records:
            self.env["matrix.outbox"]._note(records, "automation", self.id)
        elif self.env.context.get("cron_id"):
            # Nobody would see an error, and the rest of the schedule must continue.
            failure = self._matrix_failure_without_record()
            self.env["matrix.log"]._insert_failures([failure])
        else:
            raise UserError(
                self.env._(
                    "“%(action)s” sends a message about a record. Run it in a list or "
                    "form of %(model)s, or by an automation rule.",
                    action=self.name,
                    model=self.model_id.name,
                )
            )
        return False

    def _matrix_failure_without_record(self):
        """Return the log row of a run that has no record to send a message about."""
        company = self.env.company
        backend = self.matrix_backend_id or self.env["matrix.backend"]._active_for(
            company
        )
        return {
            "backend_id": backend.id,
            "event_type": "automation",
            "user_id": self.env.uid,
            "error_code": words.ERROR_NO_RECORD,
            "error_message": self.env._(
                "%(action)s: there is no record to send a message about, or it was"
                " deleted.",
                action=self._matrix_place("automation"),
            ),
        }

    def _matrix_place(self, event_type):
        """See matrix.event.mixin."""
        name = self.exists().name or "–"
        return self.env._("Server action “%(name)s”", name=name)

    def _matrix_target(self, event_type):
        """See matrix.event.mixin; the record is in the context."""
        record = self.env.context["matrix_record"]
        has_room = hasattr(record, "_matrix_room_record")
        room_record = record._matrix_room_record() if has_room else record
        if has_room and not room_record.matrix_enabled:
            return None
        backend = self.matrix_backend_id or self.env[
            "matrix.backend"
        ]._active_for_record(room_record)
        if not backend.is_active:
            return None
        if (
            has_room
            and not self.matrix_room
            and backend == room_record._matrix_backend()
            and room_record._matrix_awaits_room()
        ):
            return backend, room_record._matrix_row_values(backend, None)
        own_room = has_room and room_record.matrix_room_id
        room = (
            self.env["matrix.outbox"]._rendered(self.matrix_room, record)
            if self.matrix_room
            else own_room or backend.default_room_id
        )
        if not room:
            raise UserError(
                self.env._(
                    "No room was found: the record has none, the action names none, "
                    "and the backend has no default room."
                )
            )
        if not contents.is_room_id(room):
            raise UserError(
                self.env._("“%(room)s” is not a valid room ID.", room=room[:300])
            )
        if has_room:
            return backend, room_record._matrix_row_values(backend, room)
        return backend, {
            "backend_id": backend.id,
            "room_id": room,
            "res_model": record._name,
            "res_id": record.id,
        }

    def _matrix_row(self, event_type, backend, values):
        """See matrix.event.mixin."""
        outbox = self.env["matrix.outbox"]
        record = self.env.context["matrix_record"]
        record = outbox._in_language_of(record, record)
        row = outbox._rendered_row(
            backend, event_type, self.matrix_template, record, values, {}
        )
        row["content"]["msgtype"] = self.matrix_message_type or "m.text"
        return row
