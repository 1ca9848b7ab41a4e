from collections import defaultdict
from functools import partial

from odoo import api, models
from odoo.tools import SQL


class MatrixReadableMixin(models.AbstractModel):
    """Who reads which message.

    Users read the deliveries of records that they may read, and their own direct
    messages. Managers read all deliveries of their companies. A record rule cannot
    follow res_model and res_id, so the search and the access checks do, as in
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
            terms.append([("backend_id", "!=", False)])
            query.add_where(
                SQL("%s IS NULL", SQL.identifier(self._table, "backend_id"))
            )
        for model, res_ids in self._records_of(query).items():
            readable = self._readable_ids(model, res_ids)
            if readable:
                terms.append([("res_model", "=", model), ("res_id", "in", readable)])
        alternatives = [["&"] * (len(term) - 1) + term for term in terms]
        return ["|"] * (len(terms) - 1) + sum(alternatives, [])

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
