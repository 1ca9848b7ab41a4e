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
            posted = activities.filtered(lambda activity: activity._matrix_has_room())
            if posted and self._matrix_is_posted_anywhere():
                posted._matrix_note("activity_created")
        return activities

    @api.model
    def _matrix_is_posted_anywhere(self):
        """Whether some backend posts new activities: for everybody else, an activity
        costs one query more."""
        backends = self.env["matrix.backend"].sudo()
        on = [("is_active", "=", True), ("notify_activity_created", "=", True)]
        return bool(backends.search_count(on, limit=1))

    def _matrix_has_room(self):
        """Whether the record of this activity is one whose events can be posted."""
        model = self.env.get(self.res_model) if self.res_model else None
        return hasattr(model, "_matrix_room_record")

    @api.model
    def _matrix_event_types(self):
        return ["activity_created", *super()._matrix_event_types()]

    def _matrix_about(self):
        """Return the record of this activity if its events can be posted, else none."""
        if not self._matrix_has_room():
            return self.browse()
        # With all rights: activities are seen by people who may not see the record.
        outbox = self.env["matrix.outbox"].sudo()
        return outbox._existing(self.res_model, [self.res_id])

    def _matrix_read_together(self):
        for model, activities in self.grouped("res_model").items():
            if model in self.env:
                res_ids = activities.mapped("res_id")
                self.env["matrix.outbox"]._existing(model, res_ids)

    def _matrix_room_record(self):
        about = self._matrix_about()
        return about._matrix_room_record() if about else about
