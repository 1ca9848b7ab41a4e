from werkzeug.urls import url_encode

from odoo import api, models
from odoo.exceptions import UserError

from ..tools import content as contents
from ..tools.template import render


class MatrixOutbox(models.Model):
    """The text of an automatic message, about any record."""

    _inherit = "matrix.outbox"

    @api.model
    def _url_of(self, record):
        """Return the address that opens ``record`` in Odoo, for those who may."""
        query = url_encode({"model": record._name, "res_id": record.id})
        return f"{record.get_base_url()}/mail/view?{query}"

    @api.model
    def _in_language_of(self, record, room_record):
        """Return ``record`` in the language and time zone that its room hears.

        They are those of the company, for a room has many readers.
        """
        company = "company_id" in room_record._fields and room_record.company_id
        partner = (company or self.env.company).partner_id
        return record.with_context(
            lang=partner.lang or self.env.user.lang,
            tz=partner.tz or self.env.user.tz,
        )

    @api.model
    def _rendered_row(self, backend, event_type, source, record, values, variables):
        """Return the row of an automatic message about ``record``.

        :param str source: text in Odoo's inline syntax
        :param dict variables: what the text can use besides ``object``
        Raises what the text raises, and UserError where nothing comes of it.
        """
        text = render(source or "", record, **variables).strip()
        if not text:
            raise UserError(self.env._("The text of this event is empty."))
        name, url = record.display_name, self._url_of(record)
        open_in_odoo = record.env._("Open in Odoo")
        row = self._row(
            backend,
            event_type,
            text,
            values,
            links={name: url},
            below=(open_in_odoo, url),
        )
        row["user_id"] = record.env.uid
        row["content"] = contents.cut(row["content"])
        return row
