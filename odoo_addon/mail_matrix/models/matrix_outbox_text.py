from odoo import api, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..tools import content as contents
from ..tools.template import render


class MatrixOutbox(models.Model):
    """The text of an automatic message, about any record."""

    _inherit = "matrix.outbox"

    @api.model
    def _url_of(self, record):
        """Return the address that opens ``record`` in Odoo, for those who may."""
        parameters = self.env["ir.config_parameter"].sudo()
        base = self._once("url", lambda: parameters.get_param("web.base.url"))
        return f"{base}/mail/view?model={record._name}&res_id={record.id}"

    @api.model
    def _in_language_of(self, record, room_record):
        """Return ``record`` in the language and time zone that its room hears.

        They are those of the company, for a room has many readers.
        """
        company = "company_id" in room_record._fields and room_record.company_id
        company_id = company.id if company else None
        lang, zone = self._once(
            ("voice", company_id, record.env.uid),
            lambda: record.env["matrix.outbox"]._voice_of(company_id),
        )
        return record.with_context(lang=lang, tz=zone)

    @api.model
    def _voice_of(self, company_id):
        """Return language and time zone of a company, else this user's.

        One statement, since the cache is empty of them at commit.
        """
        for model, names in (
            ("res.users", ["partner_id", "company_id"]),
            ("res.company", ["partner_id"]),
            ("res.partner", ["lang", "tz"]),
        ):
            self.env[model].flush_model(names)
        self.env.cr.execute(
            SQL(
                """
                SELECT COALESCE(theirs.lang, own.lang), COALESCE(theirs.tz, own.tz)
                FROM res_users AS u
                JOIN res_partner AS own ON own.id = u.partner_id
                LEFT JOIN res_company AS c ON c.id = COALESCE(%s, u.company_id)
                LEFT JOIN res_partner AS theirs ON theirs.id = c.partner_id
                WHERE u.id = %s
                """,
                company_id,
                self.env.uid,
            )
        )
        return self.env.cr.fetchone() or (None, None)

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
        open_in_odoo = self._once(
            ("open", record.env.lang), lambda: record.env._("Open in Odoo")
        )
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
