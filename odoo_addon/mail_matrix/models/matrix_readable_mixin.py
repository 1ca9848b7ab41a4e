from collections import defaultdict
from functools import partial

from odoo import api, models
from odoo.tools import SQL


class MatrixReadableMixin(models.AbstractModel):
    """Who reads which message.

    Users read the deliveries of records that they may read, and their own direct
    messages. Managers read all deliveries of their companies; of a backend that several
    companies share, those about records and by users of their companies. A record rule
    cannot follow res_model and res_id, so the search and the access checks do, as in
    mail.message.
    """

    _name = "matrix.readable.mixin"
    _inherit = "matrix.message.mixin"
    _description = "Message that the Readers of its Record may Read"

    # The arguments of 19.0 that 18.0 does not have stay in options.
    @api.model
    def _search(self, domain, offset=0, limit=None, order=None, **options):
        if self.env.su or options.get("bypass_access"):
            return super()._search(domain, offset, limit, order, **options)
        domain = list(domain)
        # Paging and counting need the condition in the query itself, so access to the
        # records that the domain finds is checked first.
        readable = self._readable_domain(super()._search(domain, **options))
        return super()._search(domain + readable, offset, limit, order, **options)

    @api.model
    def _readable_domain(self, query):
        """Return the rows of ``query`` that this user may read, as one domain term."""
        terms = [
            [("matrix_user_id", "!=", False), ("user_id", "=", self.env.uid)]
            + [("res_model", "=", False)]
        ]
        if self.env.user.has_group("mail_matrix.group_matrix_manager"):
            # The rule on the company of the backend does the rest. Rows of a deleted
            # backend belong to no company: their records decide.
            if self.env["matrix.backend"]._is_for_all_companies():
                terms.append([("backend_id", "!=", False)])
                query.add_where(
                    SQL("%s IS NULL", SQL.identifier(self._table, "backend_id"))
                )
            else:
                terms.append([("backend_id.company_id", "!=", False)])
                query.add_where(self._without_company())
                return self._join(terms + self._managed_terms(query))
        for model, res_ids in self._records_of(query).items():
            readable = self._readable_ids(model, res_ids)
            if readable:
                terms.append([("res_model", "=", model), ("res_id", "in", readable)])
        return self._join(terms)

    @api.model
    def _without_company(self):
        """Return the condition that finds the rows whose backend has no company, or is
        gone."""
        return SQL(
            "%s IS NOT TRUE",
            SQL(
                "%s IN (SELECT id FROM matrix_backend WHERE company_id IS NOT NULL)",
                SQL.identifier(self._table, "backend_id"),
            ),
        )

    @api.model
    def _join(self, terms):
        """Return the domain of the rows that one of ``terms`` finds, each of which is a
        list of conditions."""
        alternatives = [["&"] * (len(term) - 1) + term for term in terms]
        return ["|"] * (len(terms) - 1) + sum(alternatives, [])

    @api.model
    def _managed_terms(self, query):
        """Return terms for the rows of ``query`` that are about records of the
        companies of this manager, who need not read these records, or by users of these
        companies, if there is no record (any more)."""
        companies = self.env.companies.ids
        theirs = [("user_id.company_ids", "in", companies)]
        terms = [[("res_model", "=", False), *theirs]]
        for model, res_ids in self._records_of(query).items():
            found, gone = self._managed_ids(model, res_ids)
            if found:
                terms.append([("res_model", "=", model), ("res_id", "in", found)])
            if gone:
                about = [("res_model", "=", model), ("res_id", "in", gone)]
                terms.append([*about, *theirs])
        return terms

    @api.model
    def _managed_ids(self, model, res_ids):
        """Return the ids of those of these records that belong to the companies of this
        manager, and of those that no longer exist."""
        if model not in self.env:
            return [], res_ids
        records = self.env[model].sudo().browse(res_ids).exists()
        gone = list(set(res_ids) - set(records.ids))
        if "company_id" not in records._fields:
            return self._readable_ids(model, res_ids), gone
        own = records.filtered(lambda record: record.company_id <= self.env.companies)
        return own.ids, gone

    @api.model
    def _records_of(self, query):
        """Return the ids of the records that the rows of ``query`` are about, by
        model."""
        distinct = query.select(
            SQL(
                "DISTINCT %s, %s",
                SQL.identifier(self._table, "res_model"),
                SQL.identifier(self._table, "res_id"),
            )
        )
        res_ids = defaultdict(list)
        for model, res_id in self.env.execute_query(distinct):
            if model and res_id:
                res_ids[model].append(res_id)
        return res_ids

    def _check_access(self, operation):
        result = super()._check_access(operation)
        if operation != "read" or not self:
            return result
        judged = self - result[0] if result else self
        readable = self.browse(
            self._search([("id", "in", judged.ids)]).get_result_ids()
        )
        # A row that is gone is missing, not forbidden.
        forbidden = (judged - readable).exists()
        if result:
            forbidden |= result[0]
        if not forbidden:
            return None
        rule = self.env["ir.rule"]
        return forbidden, partial(rule._make_access_error, operation, forbidden)
