from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL


class MatrixBackgroundMixin(models.AbstractModel):
    """Rows about records for which a scheduled action calls the homeserver.

    Business transactions insert rows and do nothing else. The rows of one record are
    worked off together, each record in a transaction of its own.
    """

    _name = "matrix.background.mixin"
    _description = "Work about Records in the Background"

    # The scheduled action's XML ID.
    _matrix_cron = None
    _matrix_again_after = timedelta(minutes=5)

    res_model = fields.Char(required=True, readonly=True)
    res_id = fields.Many2oneReference(
        model_field="res_model", required=True, readonly=True
    )
    noted_at = fields.Datetime(required=True, readonly=True)
    again_at = fields.Datetime(readonly=True)

    @api.model
    def _trigger(self, at=None):
        cron = self.env.ref(self._matrix_cron, False)
        if cron:
            cron.sudo()._trigger(at)

    @api.model
    def _cron_look(self):
        """Look for work, and do that of the record that has waited longest."""
        first = self._first_due()
        if first:
            self.search(first._matrix_together())._matrix_work()
        remaining = self.search_count(self._due())
        self.env["ir.cron"]._matrix_tell(done=1, remaining=remaining)

    def _matrix_together(self):
        """Return the domain of the rows that are worked off with this one."""
        return [("res_model", "=", self.res_model), ("res_id", "=", self.res_id)]

    def _matrix_work(self):
        """Do the work of one record; delete these rows unless to be done again."""
        raise NotImplementedError

    @api.model
    def _due(self):
        now = fields.Datetime.now()
        return ["|", ("again_at", "=", False), ("again_at", "<=", now)]

    @api.model
    def _first_due(self):
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                "SELECT id FROM %s WHERE again_at IS NULL OR again_at <= %s "
                "ORDER BY COALESCE(again_at, noted_at), id LIMIT 1",
                SQL.identifier(self._table),
                fields.Datetime.now(),
            )
        )
        return self.browse(row_id for (row_id,) in rows)

    @api.model
    def _due_of(self, backend):
        """Return the rows that are due, of all records that ``backend`` serves."""
        rows = self.browse()
        for model, group in self.search(self._due()).grouped("res_model").items():
            if model not in self.env:
                continue
            records = self.env[model].browse(group.mapped("res_id")).exists()
            served = records.filtered(lambda rec: rec._matrix_backend() == backend)
            ids = set(served.ids)
            rows |= group.filtered(lambda row, ids=ids: row.res_id in ids)
        return rows

    @api.model
    def _is_about_all(self, error):
        """Whether the other records of the backend would get the same answer."""
        return error.status in (None, 401, 429) or error.status >= 500

    def _matrix_record(self):
        """Return the record that these rows are about, or nothing if it is gone."""
        model, res_id = self[0].res_model, self[0].res_id
        return model in self.env and self.env[model].browse(res_id).exists()
