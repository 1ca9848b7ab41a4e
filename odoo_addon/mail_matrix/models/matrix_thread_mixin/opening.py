from odoo import api, models
from odoo.tools import SQL

from ..matrix_deliveries_mixin import NEWEST_WAITING


class MatrixThreadMixin(models.AbstractModel):
    """What a record's first room opens with."""

    _inherit = "matrix.thread.mixin"

    @api.model
    def _matrix_created_event(self):
        """Return the event that says that a record was created, or nothing."""
        return None

    @api.model
    def _matrix_summary_event(self):
        """Return the event whose text sums a record up, or nothing. A room that Odoo
        creates opens with it."""
        return None

    def _matrix_note_opening(self):
        """Post in the first room of these records what it opens with.

        That the record was created is left out if the default room has that message.
        """
        created, summary = self._matrix_created_event(), self._matrix_summary_event()
        is_new = self.env.context.get("matrix_room_is_new")
        summed_up = self.filtered(lambda rec: is_new and rec._matrix_sums_up())
        posted = self._matrix_posted_ids([summary])
        summed_up.filtered(lambda rec: rec.id not in posted)._matrix_note(summary)
        if created and (others := self - summed_up):
            posted = others._matrix_posted_ids([created, summary])
            others.filtered(lambda rec: rec.id not in posted)._matrix_note(created)

    def _matrix_sums_up(self):
        """Whether the record's backend has summaries turned on."""
        summary = self._matrix_summary_event()
        return bool(summary) and self._matrix_backend()[f"notify_{summary}"]

    def _matrix_posted_ids(self, events):
        """Return the ids of those of these records about which one of ``events`` was
        sent or is waiting."""
        events = [event for event in events if event]
        if not self or not events:
            return set()
        posted = self.env.execute_query(
            SQL(
                """
                SELECT res_id FROM matrix_log
                WHERE res_model = %(model)s AND res_id = ANY(%(ids)s)
                    AND event_type = ANY(%(events)s)
                    AND (status = 'ok' OR content IS NOT NULL)
                UNION ALL
                SELECT res_id FROM matrix_early_message
                WHERE res_model = %(model)s AND res_id = ANY(%(ids)s)
                    AND event_type = ANY(%(events)s)
                UNION ALL
                SELECT res_id FROM (
                    SELECT * FROM matrix_outbox ORDER BY id DESC LIMIT %(bound)s
                ) AS newest
                WHERE res_model = %(model)s AND res_id = ANY(%(ids)s)
                    AND event_type = ANY(%(events)s)
                """,
                model=self._name,
                ids=self.ids,
                events=events,
                bound=NEWEST_WAITING,
            )
        )
        return {res_id for (res_id,) in posted}
