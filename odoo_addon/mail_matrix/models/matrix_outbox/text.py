from contextlib import contextmanager

from odoo import api, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ...tools import content as contents
from ...tools import template_html
from ...tools.template import render
from ...tools.template_syntax import TemplateError

# Longer names are not turned into links.
_MAX_NAME = 200


class MatrixOutbox(models.Model):
    """The text of an automatic message, about any record."""

    _inherit = "matrix.outbox"

    @api.model
    def _url_of(self, record):
        """Return the address of ``record`` in Odoo.

        It begins with the web address of the company, not with the one by which an
        administrator, or whoever causes the event, happened to log in.
        """
        base = (
            record._matrix_base_url()
            if _is_event_record(record)
            else record.get_base_url()
        )
        return f"{base}/mail/view?model={record._name}&res_id={record.id}"

    @api.model
    def _in_language_of(self, record, room_record):
        """Return ``record`` in the language and time zone of its room.

        They are those of the company, because a room has many readers, and the text
        must not depend on who or what causes the event.
        """
        company = "company_id" in room_record._fields and room_record.company_id
        company_id = company.id if company else None
        lang, zone = self._once(
            ("voice", company_id),
            lambda: record.env["matrix.outbox"]._locale_of(company_id),
        )
        return record.with_context(lang=lang, tz=zone)

    @api.model
    def _locale_of(self, company_id):
        """Return language and time zone of a company, else of the first one.

        If its contact has none, they are those of Odoo's administrator. One statement,
        because at commit they are not in the cache.
        """
        administrator = self.env.ref("base.user_admin", raise_if_not_found=False)
        for model, names in (
            ("res.users", ["partner_id"]),
            ("res.company", ["partner_id"]),
            ("res.partner", ["lang", "tz"]),
        ):
            self.env[model].flush_model(names)
        self.env.cr.execute(
            SQL(
                """
                SELECT COALESCE(theirs.lang, own.lang),
                    COALESCE(theirs.tz, own.tz, 'UTC')
                FROM res_company AS c
                JOIN res_partner AS theirs ON theirs.id = c.partner_id
                LEFT JOIN res_users AS u ON u.id = %s
                LEFT JOIN res_partner AS own ON own.id = u.partner_id
                WHERE c.id = COALESCE(%s, (SELECT min(id) FROM res_company))
                """,
                administrator.id if administrator else None,
                company_id,
            )
        )
        return self.env.cr.fetchone() or (None, "UTC")

    @api.model
    def _rendered(self, source, record, variables=None):
        """Return ``source`` rendered for ``record``. Raises UserError for a text that
        is not valid, and what the code of a computed field raises."""
        with self._explaining():
            return render(source or "", record, **(variables or {})).strip()

    @api.model
    def _rendered_html(self, source, record, variables):
        """Return the reading of ``source``, HTML with expressions; see _rendered."""
        with self._explaining():
            base_url = record.get_base_url()
            return template_html.render(source, record, base_url, **variables)

    @contextmanager
    def _explaining(self):
        try:
            yield
        except TemplateError as error:
            # From None, so that the cause is not quoted after this plain text.
            explained = self.env["matrix.text.mixin"]._matrix_explain(error)
            raise UserError(explained) from None

    @api.model
    def _rendered_row(
        self,
        backend,
        event_type,
        source,
        record,
        values,
        variables,
        html=None,
        mentions=(),
    ):
        """Return the row of an automatic message about ``record``.

        :param str source: text with expressions, see tools.template_syntax
        :param dict variables: what the text can use besides ``object``
        :param str html: the same text with formatting; without ``source`` it is the
            text
        :param mentions: pairs of name and account; the text begins with the names that
            are not in it
        Raises what _rendered raises, and UserError if the text is empty.
        """
        reading = self._rendered_html(html, record, variables) if html else None
        text = self._rendered(source, record, variables)
        text = text or (reading.text.strip() if reading else "")
        if not text:
            raise UserError(self.env._("The text of this event is empty."))
        names = [name for name, _user in mentions]
        added = names if reading else contents.unnamed(text, names)
        text = "".join(f"{name}: " for name in added) + text
        name, url = record.display_name or "", self._url_of(record)
        open_in_odoo = self._once(
            ("open", record.env.lang), lambda: record.env._("Open in Odoo")
        )
        below = (open_in_odoo, url)
        row = self._row(
            backend,
            event_type,
            text,
            values,
            links={name: url} if len(name) <= _MAX_NAME else {},
            below=below,
            mentions=mentions,
        )
        row["user_id"] = record.env.uid
        content = row["content"]
        if reading and reading.html:
            content = contents.formatted(content, reading.html, below, mentions)
        row["content"] = contents.cut(content)
        return row


def _is_event_record(record):
    return hasattr(record, "_matrix_base_url")
