import logging

from odoo import api, fields, models
from odoo.tools import SQL

from ...tools import words

_logger = logging.getLogger(__name__)

_BATCH = 500
_CRON = "mail_matrix.matrix_delivery_cron"
# A message shows one status for itself and its files: the first of these that occurs.
_ORDER = ("exception", "ready", "canceled", "sent")


class MatrixMirror(models.Model):
    """The chatter shows what became of a message, as it does for e-mail and SMS.

    The worker writes no tables of mail, and posting a message does not wait for more
    rows to be written: a scheduled action reads the log.
    """

    _inherit = "matrix.mirror"

    # No default: an upgrade would give it to old rows, and show a year of them again.
    delivery = fields.Selection(
        [("new", "Not shown yet"), ("ready", "Waiting")],
        index="btree_not_null",
        help="Empty: there is nothing more to show in the chatter.",
    )

    @api.model
    def _cron_show_deliveries(self):
        """Show a batch of what changed, and run again while there is more."""
        mirrors = self._changed_deliveries(_BATCH)
        mirrors._show_deliveries()
        if len(mirrors) == _BATCH:
            self.env.ref(_CRON)._trigger()

    @api.model
    def _changed_deliveries(self, limit):
        """Return what the chatter does not show yet, or shows as waiting by mistake."""
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                """
                SELECT m.id FROM matrix_mirror AS m
                WHERE m.delivery IS NOT NULL AND (m.delivery = 'new' OR NOT EXISTS (
                    SELECT FROM matrix_outbox AS o WHERE o.txn_id = m.txn_id
                ))
                ORDER BY m.id LIMIT %s
                """,
                limit,
            )
        )
        return self.browse(row[0] for row in rows)

    def _show_deliveries(self):
        messages = self.env["mail.message"].browse(set(self.mapped("message_id")))
        known = messages.exists()
        mirrors = self.search([("message_id", "in", known.ids)])
        outcomes = mirrors._outcomes()
        refused = set()
        for message in known:
            found = [
                outcomes[mirror.id]
                for mirror in mirrors
                if mirror.message_id == message.id and mirror.id in outcomes
            ]
            found.sort(key=lambda outcome: _ORDER.index(outcome[0]))
            if found and not self._try_to_show(message, *found[0]):
                refused.add(message.id)
        for mirror in self:
            status, _reason = outcomes.get(mirror.id, (None, None))
            is_waiting = status == "ready" and mirror.message_id not in refused
            mirror.delivery = "ready" if is_waiting else False

    @api.model
    def _try_to_show(self, message, status, reason):
        """Show one message; return whether that was possible."""
        try:
            with self.env.cr.savepoint():
                if message._matrix_show_delivery(status, reason):
                    message._notify_message_notification_update()
        except Exception as error:
            self.env["matrix.outbox"]._raise_if_to_run_again(error)
            # The others are shown all the same, and this is not tried for ever.
            _logger.exception(
                "The chatter does not show what became of mail.message,%s", message.id
            )
            return False
        return True

    def _outcomes(self):
        """Return {id: (status of mail.notification, reason)} of what is known."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT m.id, o.id IS NOT NULL, l.status, l.error_code, l.error_message
                FROM matrix_mirror AS m
                LEFT JOIN matrix_outbox AS o ON o.txn_id = m.txn_id
                LEFT JOIN LATERAL (
                    SELECT status, error_code, error_message FROM matrix_log
                    WHERE res_model = m.res_model AND res_id = m.res_id
                        AND txn_id = m.txn_id AND is_final
                    ORDER BY id DESC LIMIT 1
                ) AS l ON true
                WHERE m.id = ANY(%s) AND m.is_retracted IS NOT TRUE
                """,
                self.ids,
            )
        )
        outcomes = {}
        for mirror_id, is_waiting, status, code, reason in rows:
            if is_waiting:
                outcomes[mirror_id] = ("ready", False)
            elif status == "ok":
                outcomes[mirror_id] = ("sent", False)
            elif status and code in words.NOT_FAILED:
                outcomes[mirror_id] = ("canceled", False)
            elif status:
                outcomes[mirror_id] = ("exception", reason)
        return outcomes
