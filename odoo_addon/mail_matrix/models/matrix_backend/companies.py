from odoo import api, models


class MatrixBackend(models.Model):
    """A backend without a company sends what the records of all companies say."""

    _inherit = "matrix.backend"

    @api.model
    def _is_for_all_companies(self):
        """Whether this user has access to all companies, and so may change what they
        share and read all that was sent through it. The record rules say the same."""
        companies = self.env["res.company"].sudo().search_count([])
        return len(self.env.user.company_ids) == companies

    @api.model
    def _reads_some_only(self):
        """Whether this user is a manager who may read only a part of what waits.

        The same with all rights: what is counted is kept for the user, and Odoo reads
        records with all rights to check the access to them.
        """
        is_manager = self.env.user.has_group("mail_matrix.group_matrix_manager")
        return is_manager and not self._is_for_all_companies()

    @api.model
    def _in_charge(self):
        """Return the backends of which this manager may read all messages."""
        own = [] if self._is_for_all_companies() else [("company_id", "!=", False)]
        # An office has a handful of them.
        return self.search(own, limit=100)
