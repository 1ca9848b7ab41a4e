from odoo import api, models


class MailActivity(models.Model):
    """A new activity is announced in the room of its record, if the backend says so."""

    _name = "mail.activity"
    _inherit = ["matrix.event.mixin", "mail.activity"]

    @api.model_create_multi
    def create(self, vals_list):
        activities = super().create(vals_list)
        # The activity about a failed message must not cause another one.
        if not self.env.context.get("matrix_failure"):
            posted = activities.filtered(lambda activity: activity._matrix_about())
            posted._matrix_note("activity_created")
        return activities

    @api.model
    def _matrix_event_types(self):
        return ["activity_created", *super()._matrix_event_types()]

    def _matrix_about(self):
        """Return the record of this activity if its events are posted, else none."""
        model = self.env.get(self.res_model) if self.res_model else None
        if model is None or not hasattr(model, "_matrix_room_record"):
            return self.browse()
        # With all rights: activities are seen by people who may not see the record.
        return model.sudo().browse(self.res_id).exists()

    def _matrix_room_record(self):
        about = self._matrix_about()
        return about._matrix_room_record() if about else about
