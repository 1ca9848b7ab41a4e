from collections import Counter, defaultdict

from odoo import api, fields, models

_MAX_SHOWN = 5


class MatrixLog(models.Model):
    """Reactions of people in the room to what was sent: 👍, ✅ and the like."""

    _inherit = "matrix.log"

    reactions = fields.Char(compute="_compute_reactions")

    @api.depends("matrix_event_id")
    def _compute_reactions(self):
        # With all rights: whoever may read the delivery may see the reactions to it.
        found = (
            self.env["matrix.inbound"]
            .sudo()
            .search_fetch(
                [
                    ("kind", "=", "reaction"),
                    ("is_redacted", "=", False),
                    ("target_event_id", "in", self.mapped("matrix_event_id")),
                ],
                ["backend_id", "target_event_id", "reaction"],
                order="id",
            )
        )
        counts = defaultdict(Counter)
        for row in found:
            counts[row.backend_id, row.target_event_id][row.reaction] += 1
        for row in self:
            keys = counts.get((row.backend_id, row.matrix_event_id), Counter())
            row.reactions = "  ".join(
                f"{key} {count}" if count > 1 else key
                for key, count in keys.most_common(_MAX_SHOWN)
            )
