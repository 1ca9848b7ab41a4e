from odoo import api, models


class IrCron(models.Model):
    _inherit = "ir.cron"

    @api.model
    def _matrix_tell(self, done, remaining):
        """Say how much is left, so that the scheduled action runs again at once."""
        if not hasattr(self, "_commit_progress"):
            # Odoo 18.
            self._notify_progress(done=done, remaining=remaining)
        elif self.env.context.get("ir_cron_progress_id"):
            self._commit_progress(done, remaining=remaining)
