from functools import partial

from odoo import api, models

from ..tools import content as contents
from ..tools import words


class NotPosted(Exception):
    """An event is not posted. The log says why.

    :param about: further values of the row in the log
    """

    def __init__(self, message, code, about):
        super().__init__(message)
        self.matrix_code = code
        self.about = about


class MatrixEventMixin(models.AbstractModel):
    """A record whose events are posted in a room: its own, or another record's."""

    _name = "matrix.event.mixin"
    _description = "Events Posted in Matrix"

    def _matrix_note(self, event_type):
        """Remember that ``event_type`` happened; the rest is done at commit."""
        self.env["matrix.outbox"]._note(self, event_type)

    @api.model
    def _matrix_event_types(self):
        """Return the events of these records that the backend has a text for."""
        return []

    def _matrix_room_record(self):
        """Return the record, with matrix.thread.mixin, whose room gets this record's
        events."""
        return self

    def _matrix_read_together(self):
        """Look up at once what the events of these records are about; see
        _reading_once of matrix.outbox."""

    def _matrix_backend(self):
        """Return the backend that serves this record, with all rights, or none."""
        return self.env["matrix.backend"]._active_for_record(self._matrix_room_record())

    def _matrix_template(self, event_type, backend):
        """Return the text of ``event_type`` in Odoo's inline syntax."""
        return backend[f"template_{event_type}"]

    def _matrix_html_template(self, event_type, backend):
        """Return the same text with formatting, as HTML with expressions, or nothing.

        If there is no other text, the plain text is read from it.
        """
        return None

    def _matrix_place(self, event_type):
        """Return in plain words where the text of ``event_type`` is written."""
        return self.env._("Backend “%(name)s”", name=self._matrix_backend().name)

    @api.model
    def _matrix_opening_events(self):
        """Return the events that announce a new record: these are posted first."""
        return []

    @api.model
    def _matrix_variable_names(self, event_type):
        """Return the names that _matrix_variables gives to a text of this event."""
        return ("author", "text") if event_type == "chatter" else ()

    def _matrix_variables(self, event_type):
        """Return what a text can use besides ``object``."""
        return {}

    def _matrix_url(self):
        """Return the address of this record in Odoo."""
        self.ensure_one()
        return self.env["matrix.outbox"]._url_of(self)

    def _matrix_base_url(self):
        """Return Odoo's web address for the record's company."""
        return self._matrix_room_record().get_base_url()

    def _matrix_target(self, event_type):
        """Return (backend, values of the row), or nothing if this is not posted.

        The values name the room, unless it is still being created, and the record
        whose room it is.
        """
        self.ensure_one()
        room_record = self._matrix_room_record()
        backend = room_record and self._matrix_backend()
        if not backend or not backend[f"notify_{event_type}"]:
            return None
        room_record._matrix_check_posted(backend)
        room = room_record._matrix_room_for(backend)
        return backend, room_record._matrix_row_values(backend, room)

    def _matrix_check_posted(self, backend):
        """Raise NotPosted unless this record has a room and Matrix is on for it."""
        about = {"backend_id": backend.id, "res_model": self._name, "res_id": self.id}
        if not self.matrix_enabled:
            raise NotPosted(
                self.env._("“Send to Matrix” was turned off for this record."),
                words.ERROR_OFF,
                about,
            )
        if not self._matrix_awaits_room() and not self._matrix_room_for(backend):
            raise NotPosted(
                self.env._("The record had no Matrix room at that time."),
                words.ERROR_NO_ROOM,
                about,
            )

    def _matrix_row_values(self, backend, room):
        values = {
            "backend_id": backend.id,
            "room_id": room,
            "res_model": self._name,
            "res_id": self.id,
        }
        opening = backend.use_threads and self._matrix_opening_events()
        return {**values, "thread": opening} if opening else values

    def _matrix_responsible(self):
        """Return the user whom a message about this record may mention, or none."""
        has_user = "user_id" in self._fields
        return self.user_id if has_user else self.env["res.users"]

    def _matrix_mentioned(self, event_type, backend):
        """Return the user whom the message of an event mentions if they are in the
        room, or none. Not who causes the event."""
        name = f"mention_{event_type}"
        user = self._matrix_responsible()
        if not backend._fields.get(name) or not backend[name] or user == self.env.user:
            return user.browse()
        return user

    def _matrix_row(self, event_type, backend, values):
        """Return the outbox row of an event. Raises what rendering its text raises."""
        outbox = self.env["matrix.outbox"]
        room_record = self._matrix_room_record()
        record = outbox._in_language_of(self, room_record)
        rendered = partial(
            outbox._rendered_row,
            backend,
            event_type,
            record._matrix_template(event_type, backend),
            record,
            values,
            record._matrix_variables(event_type),
            html=record._matrix_html_template(event_type, backend),
        )
        user = record._matrix_mentioned(event_type, backend)
        mentions = [(user.matrix_display_name or user.name, user.matrix_user_id)]
        people = self.env["matrix.room.person"]
        is_in = user and people._is_in(room_record, values.get("room_id"), user)
        row = rendered(mentions=mentions if is_in else ())
        if user.matrix_user_id and values.get("room_id", True) is None:
            # Who is in the room is known when there is one; see matrix.early.message.
            mentioning = rendered(mentions=mentions)["content"]
            mentioning[contents.MARKER] = row["txn_id"]
            row |= {"mentioned_id": user.id, "mentioning": mentioning}
        option = f"done_{event_type}"
        if option in backend._fields and backend[option]:
            row["subject"] = self
        return row
