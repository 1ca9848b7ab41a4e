from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import formatLang

from ...tools import content as contents
from ..matrix_deliveries_mixin import USER


class MatrixThreadMixin(models.AbstractModel):
    """A record with a room of its own in Matrix."""

    _name = "matrix.thread.mixin"
    _inherit = ["mail.thread", "matrix.event.mixin", "matrix.deliveries.mixin"]
    _description = "Record with a Matrix Room"

    matrix_enabled = fields.Boolean(
        string="Send to Matrix",
        default=True,
        tracking=True,
        groups=USER,
        help="Off: no messages about this record are sent to the room.",
    )
    matrix_room_id = fields.Char(
        string="Room ID",
        copy=False,
        tracking=True,
        groups=USER,
        help="Starts with “!”. In Element: room settings → Advanced.",
    )
    matrix_room_alias = fields.Char(
        string="Room Alias",
        copy=False,
        groups=USER,
        help="For example #case-4711:example.org",
    )
    matrix_mirror_chatter = fields.Boolean(
        string="Post Chatter in the Room",
        tracking=True,
        groups=USER,
        help="Messages to the followers are also posted in the room. Internal "
        "notes stay in Odoo.",
    )
    matrix_message_fullness = fields.Char(
        string="Message Length",
        compute="_compute_matrix_message_fullness",
        groups=USER,
    )

    @api.constrains("matrix_room_id")
    def _check_matrix_room_id(self):
        for record in self:
            room = record.matrix_room_id
            if room and not contents.is_room_id(room):
                raise ValidationError(
                    self.env._(
                        "“%(room)s” is not a valid room ID. A room ID begins with “!”, "
                        "has no blanks and at most 255 bytes. An alias (“#…”) goes "
                        "into the field Room Alias.",
                        room=room[:300],
                    )
                )

    @api.constrains("matrix_room_alias")
    def _check_matrix_room_alias(self):
        for record in self:
            alias = record.matrix_room_alias
            if alias and not contents.is_room_alias(alias):
                raise ValidationError(
                    self.env._(
                        "“%(alias)s” is not a valid room alias. Write it as "
                        "#name:example.org",
                        alias=alias[:300],
                    )
                )

    @api.depends("matrix_message")
    def _compute_matrix_message_fullness(self):
        for record in self:
            record.matrix_message_fullness = self._matrix_fullness(
                record.matrix_message
            )

    @api.model_create_multi
    def create(self, vals_list):
        return super().create([self._matrix_tidy(vals) for vals in vals_list])

    def write(self, vals):
        return super().write(self._matrix_tidy(vals))

    @api.model
    def _matrix_tidy(self, vals):
        """Return ``vals`` without the blanks that come with pasting."""
        names = ("matrix_room_id", "matrix_room_alias")
        pasted = {n: vals[n].strip() for n in names if isinstance(vals.get(n), str)}
        return {**vals, **pasted} if pasted else vals

    def _matrix_own_lane(self):
        record = self.sudo()._matrix_room_record()
        return None if record._matrix_awaits_room() else record._matrix_lane()

    def _matrix_lane(self):
        """Return the lane of the record's room, unless that is still being created."""
        backend = self._matrix_backend()
        room = backend and (self.matrix_room_id or backend.default_room_id)
        return f"{backend.id}/{room}" if room else None

    def _matrix_lane_of_own_room(self):
        record = self.sudo()._matrix_room_record()
        room = record.matrix_room_id
        is_own = room and room != record._matrix_backend().default_room_id
        return self._matrix_own_lane() if is_own else None

    @api.model
    def _matrix_event_types(self):
        return [*super()._matrix_event_types(), "test"]

    def action_matrix_send_test(self):
        for record in self:
            record._matrix_enqueue_test()
        return self._matrix_queued_notification()

    def action_matrix_send_message(self):
        for record in self:
            record._matrix_check_person()
            record._matrix_enqueue("manual", record.matrix_message or "")
        self.matrix_message = False
        return self._matrix_queued_notification()

    def action_matrix_compose(self):
        """Open the composer, which can mention people."""
        self.ensure_one()
        self._matrix_check_person()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Write to Matrix"),
            "res_model": "matrix.composer",
            "view_mode": "form",
            "views": [(False, "form")],
            "target": "new",
            "context": {
                "default_res_model": self._name,
                "default_res_id": self.id,
                "default_body": self.matrix_message,
                "default_draft": self.matrix_message,
            },
        }

    def _matrix_queued_notification(self, following=None):
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "info",
                "message": self.env._("Message queued for sending."),
                # The form shows the emptied text and the new delivery.
                "next": following
                or {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }

    def _matrix_enqueue(self, event_type, body, mentions=(), attachments=()):
        """Queue what a person wrote and return the transaction id.

        :param str body: plain text; line ends are kept
        :param mentions: pairs of name in the text and Matrix user id
        :param attachments: files that follow the text, with all rights
        Raises AccessError if the person may not write the record or is not a Matrix
        User, UserError if the text cannot be sent.
        """
        rows = self._matrix_written_rows(event_type, body, mentions, attachments)
        self.env["matrix.outbox"]._insert_rows(rows)
        return rows[0]["txn_id"]

    def _matrix_written_rows(self, event_type, body, mentions=(), attachments=()):
        """Return the rows of what a person wrote; see _matrix_enqueue."""
        self.ensure_one()
        self._matrix_check_person()
        backend, values = self._matrix_target_or_raise()
        mentions = [*mentions, *self._matrix_named_mentions(body)]
        return self.env["matrix.outbox"]._written_rows(
            backend, event_type, body, values, mentions, attachments
        )

    def _matrix_enqueue_test(self):
        """Queue the backend's test text, rendered like the texts of events."""
        self.ensure_one()
        self._matrix_check_person()
        backend, values = self._matrix_target_or_raise()
        outbox = self.env["matrix.outbox"]
        try:
            row = self.sudo()._matrix_row("test", backend, values)
        except UserError:
            raise
        except Exception as error:
            outbox._raise_if_to_run_again(error)
            raise UserError(
                self.env._(
                    "The test text cannot be used: %(reason)s. A Matrix Manager "
                    "can correct it on the page Texts of the Matrix backend.",
                    reason=error,
                )
            ) from error
        outbox._insert_rows([row])

    @api.model
    def _matrix_no_backend_explanation(self):
        return self.env._(
            "No Matrix backend is active for this company. A Matrix Manager can set "
            "one up under Matrix → Backends."
        )

    @api.model
    def _matrix_fullness(self, text):
        """Return in words how much of an event ``text`` takes, or False if it is
        short."""
        used, limit = (
            contents.size({"body": contents.clean(text)}),
            contents.MAX_CONTENT_BYTES,
        )
        if used < limit // 2:
            return False
        return self.env._(
            "%(used)s of %(limit)s KB",
            used=formatLang(self.env, used / 1024, digits=0),
            limit=limit // 1024,
        )

    def _matrix_check_person(self):
        """Raise AccessError unless this person may act in Matrix for the record.

        Not checked for events: those are posted whoever causes them.
        """
        self._matrix_check_user()
        self.check_access("write")

    def _matrix_target_or_raise(self):
        """Return (backend, values of the row), or say what to fix."""
        room_record = self._matrix_room_record()
        name = room_record.display_name
        if not room_record.matrix_enabled:
            raise UserError(
                self.env._(
                    "“Send to Matrix” is turned off for “%(record)s”. Turn it on "
                    "first.",
                    record=name,
                )
            )
        backend = self._matrix_backend()
        if not backend:
            raise UserError(self._matrix_no_backend_explanation())
        # With all rights on the backend, whose default room a plain user need not see.
        room = room_record._matrix_room_for(backend)
        if not room and not room_record._matrix_awaits_room():
            raise UserError(
                self.env._(
                    "“%(record)s” has no Matrix room yet. Enter its room ID first.",
                    record=name,
                )
            )
        return backend, room_record._matrix_row_values(backend, room)
