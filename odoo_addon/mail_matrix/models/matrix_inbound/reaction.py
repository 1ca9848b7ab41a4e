import logging

from odoo import models
from odoo.exceptions import AccessError

from ...tools import inbound

_logger = logging.getLogger(__name__)


class MatrixInbound(models.Model):
    """A reaction is shown on the delivery, and may mark an activity as done."""

    _inherit = "matrix.inbound"

    def _follow_reaction(self, record, event):
        """Mark as done the activity that the message is about, if the backend says so.

        Only for the person to whom it is assigned, and with the rights of that person.
        The delivery shows all reactions.
        """
        user = self._user_of(event.sender)
        if not user or not inbound.is_done_mark(event.key):
            return
        delivery = self._delivery([record], event.target)
        option = delivery and f"done_{delivery['event_type']}"
        if not delivery or option not in self.backend_id._fields:
            return
        if not self.backend_id[option]:
            return
        subjects = self.env["matrix.subject"]
        activity = subjects._activity_of(delivery["txn_id"], user)
        if not activity:
            return
        lang = self.env["matrix.outbox"]._in_language_of(record, record).env.lang
        # What is posted about it came from the room.
        activity = activity.with_context(matrix_inbound=True, lang=lang)
        feedback = activity.env._("%(reaction)s in Matrix", reaction=event.key)
        try:
            with self.env.cr.savepoint():
                activity.action_feedback(feedback=feedback)
        except AccessError:
            _logger.info(
                "A reaction by %s may not finish mail.activity,%s",
                user.login,
                activity.id,
            )
