from odoo import api, models

# What a room must know of a planned hearing.
TOLD = ("name", "case_id", "date_start", "location")


class LegalHearing(models.Model):
    _name = "legal.hearing"
    _inherit = ["matrix.event.mixin", "legal.hearing"]

    @api.model
    def _matrix_event_types(self):
        told = ["hearing_created", "hearing_changed", "hearing_cancelled"]
        return [*told, *super()._matrix_event_types()]

    def _matrix_room_record(self):
        return self.case_id

    @api.model_create_multi
    def create(self, vals_list):
        hearings = super().create(vals_list)
        hearings._matrix_note("hearing_created")
        return hearings

    def write(self, vals):
        if not {"state", *TOLD} & vals.keys():
            return super().write(vals)
        before = {hearing: hearing._matrix_told() for hearing in self}
        result = super().write(vals)
        changed = self.filtered(lambda h: h._matrix_told() != before[h])
        cancelled = changed.filtered(
            lambda h: h.state == "cancelled" and before[h]["state"] != "cancelled"
        )
        cancelled._matrix_note("hearing_cancelled")
        # Nobody waits for a cancelled hearing, and what was held is history; planning
        # it again is news.
        planned = changed.filtered(lambda h: h.state == "planned")
        planned._matrix_note("hearing_changed")
        return result

    def _matrix_told(self):
        return {name: self[name] for name in ("state", *TOLD)}
