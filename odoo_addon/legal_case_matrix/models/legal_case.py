from odoo import api, models
from odoo.tools import is_html_empty


class LegalCase(models.Model):
    _name = "legal.case"
    # The mixin first: its methods come before those of mail.thread in legal.case.
    _inherit = ["matrix.thread.mixin", "legal.case"]

    @api.model_create_multi
    def create(self, vals_list):
        cases = super().create(vals_list)
        cases._matrix_note("case_created")
        return cases

    def write(self, vals):
        if not {"stage_id", "company_id"} & vals.keys():
            return super().write(vals)
        # A change of company can change the stage too.
        before = {case: case.stage_id for case in self}
        result = super().write(vals)
        moved = self.filtered(lambda case: case.stage_id != before[case])
        moved.filtered(
            lambda case: case._matrix_stage_has_rooms()
        )._matrix_request_room()
        moved._matrix_note("stage_changed")
        return result

    @api.model
    def _matrix_event_types(self):
        events = ["case_created", "case_summary", "stage_changed"]
        return [*events, *super()._matrix_event_types()]

    @api.model
    def _matrix_opening_events(self):
        return ["case_created", "case_summary", *super()._matrix_opening_events()]

    @api.model
    def _matrix_created_event(self):
        return "case_created"

    @api.model
    def _matrix_summary_event(self):
        return "case_summary"

    def _matrix_wants_room_from_start(self):
        wants = super()._matrix_wants_room_from_start()
        return wants or self._matrix_stage_has_rooms()

    def _matrix_stage_has_rooms(self):
        # With all rights: rooms are created whoever moves the case.
        return self.stage_id.sudo().matrix_create_room

    def _matrix_template(self, event_type, backend):
        if self._matrix_has_stage_text(event_type):
            return self.stage_id.sudo().matrix_template
        return super()._matrix_template(event_type, backend)

    def _matrix_html_template(self, event_type, backend):
        if self._matrix_has_stage_text(event_type):
            html = self.stage_id.sudo().matrix_template_html
            return None if is_html_empty(html) else html
        return super()._matrix_html_template(event_type, backend)

    def _matrix_place(self, event_type):
        if self._matrix_has_stage_text(event_type):
            return self.env._("Stage “%(name)s”", name=self.stage_id.name)
        return super()._matrix_place(event_type)

    def _matrix_has_stage_text(self, event_type):
        # With all rights: the text is the same for everybody who moves the case.
        stage = self.stage_id.sudo()
        has_text = stage.matrix_template or not is_html_empty(
            stage.matrix_template_html
        )
        return event_type == "stage_changed" and bool(has_text)

    def _matrix_room_people(self):
        return super()._matrix_room_people() | self.lawyer_ids

    @api.model
    def _matrix_people_fields(self):
        return {"lawyer_ids", *super()._matrix_people_fields()}
