from odoo import api, models

# A change of one of these is posted.
POSTED = ("name", "case_id", "date_start", "location")


class LegalHearing(models.Model):
    _name = "legal.hearing"
    _inherit = ["matrix.event.mixin", "legal.hearing"]

    @api.model
    def _matrix_event_types(self):
        events = ["hearing_created", "hearing_changed", "hearing_cancelled"]
        return [*events, *super()._matrix_event_types()]

    def _matrix_room_record(self):
        return self.case_id

    @api.model_create_multi
    def create(self, vals_list):
        hearings = super().create(vals_list)
        hearings._matrix_note("hearing_created")
        return hearings

    def write(self, vals):
        if not {"state", *POSTED} & vals.keys():
            return super().write(vals)
        before = {hearing: hearing._matrix_posted_values() for hearing in self}
        result = super().write(vals)
        changed = self.filtered(lambda h: h._matrix_posted_values() != before[h])
        cancelled = changed.filtered(
            lambda h: h.state == "cancelled" and before[h]["state"] != "cancelled"
        )
        cancelled._matrix_note("hearing_cancelled")
        # A change to a cancelled or past hearing is not posted; planning it again is.
        planned = changed.filtered(lambda h: h.state == "planned")
        planned._matrix_note("hearing_changed")
        return result

    def _matrix_posted_values(self):
        return {name: self[name] for name in ("state", *POSTED)}
