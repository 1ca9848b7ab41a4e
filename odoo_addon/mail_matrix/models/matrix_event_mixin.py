from werkzeug.urls import url_encode

from odoo import models
from odoo.exceptions import UserError

from ..tools import content as contents
from ..tools.template import render


class MatrixEventMixin(models.AbstractModel):
    """A record whose events a room hears of: its own room, or another record's."""

    _name = "matrix.event.mixin"
    _description = "Events told in Matrix"

    def _matrix_note(self, event_type):
        """Remember that ``event_type`` happened; the rest is done at commit."""
        self.env["matrix.outbox"]._note(self, event_type)

    def _matrix_room_record(self):
        """Return the record, with matrix.thread.mixin, whose room hears of this one."""
        return self

    def _matrix_backend(self):
        """Return the backend that speaks for this record, with all rights, or none."""
        room_record = self._matrix_room_record()
        company = (
            room_record.company_id
            if "company_id" in room_record._fields
            else self.env["res.company"]
        )
        return self.env["matrix.backend"]._active_for(company)

    def _matrix_template(self, event_type, backend):
        """Return the text of ``event_type`` in Odoo's inline syntax."""
        return backend[f"template_{event_type}"]

    def _matrix_lang(self):
        """Return the language that the room hears: the company's by default."""
        company = self._matrix_company()
        return company.partner_id.lang or self.env.lang

    def _matrix_company(self):
        self.ensure_one()
        room_record = self._matrix_room_record()
        company = "company_id" in room_record._fields and room_record.company_id
        return company or self.env.company

    def _matrix_variables(self, event_type, message_id):
        """Return what a text can use besides ``object``."""
        if event_type != "chatter":
            return {}
        message = self.env["mail.message"].browse(message_id)
        return {
            "author": message.author_id.display_name or message.email_from or "",
            "text": message._matrix_text(),
        }

    def _matrix_url(self):
        """Return the address that opens this record in Odoo, for those who may."""
        self.ensure_one()
        query = url_encode({"model": self._name, "res_id": self.id})
        return f"{self.get_base_url()}/mail/view?{query}"

    def _matrix_target(self, event_type):
        """Return (backend, values of the row), or nothing where this is not told.

        The values name the room and the record whose room it is.
        """
        self.ensure_one()
        room_record = self._matrix_room_record()
        if not room_record or not room_record.matrix_enabled:
            return None
        backend = self._matrix_backend()
        if not backend or not backend[f"notify_{event_type}"]:
            return None
        room = room_record.matrix_room_id or backend.default_room_id
        if not room:
            return None
        return backend, room_record._matrix_row_values(backend, room)

    def _matrix_row_values(self, backend, room):
        return {
            "backend_id": backend.id,
            "room_id": room,
            "res_model": self._name,
            "res_id": self.id,
        }

    def _matrix_row(self, event_type, backend, values, message_id=0):
        """Return the outbox row of an event. Raises what its text raises."""
        company = self._matrix_company()
        record = self.with_context(
            lang=self._matrix_lang(), tz=company.partner_id.tz or self.env.user.tz
        )
        text = render(
            record._matrix_template(event_type, backend) or "",
            record,
            **record._matrix_variables(event_type, message_id),
        ).strip()
        if not text:
            raise UserError(
                self.env._("The text of this event is empty: see the backend's texts.")
            )
        name, url = record.display_name, record._matrix_url()
        row = self.env["matrix.outbox"]._row(
            backend,
            event_type,
            text,
            values,
            links={name: url},
            below=(self.env._("Open in Odoo"), url),
        )
        row["content"] = contents.cut(row["content"])
        return row
