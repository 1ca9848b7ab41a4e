from odoo import fields, models

from odoo.addons.mail_matrix.tools.words import MESSAGE_TYPES

_MANAGER = "mail_matrix.group_matrix_manager"
_MENTION = (
    "The message notifies the responsible person in Matrix, if they are in the room. "
    "Nobody is notified of what they did themselves."
)
_MENTION_NEW = (
    f"{_MENTION} A room that opens with a summary of the case does not get this "
    "message."
)
_DONE = (
    "If somebody reacts to the message with 👍 or ✅, the activity that is assigned to "
    "them on the hearing is marked as done, unless they have several there."
)


class MatrixBackend(models.Model):
    """Which events of cases and hearings are posted, and with which texts.

    The format of a hearing's time is neither "short", where day and month can be
    mistaken, nor "medium" with its seconds.
    """

    _inherit = "matrix.backend"

    notify_case_created = fields.Boolean(
        string="New Cases", default=True, groups=_MANAGER
    )
    template_case_created = fields.Text(
        string="New Case Text",
        default=lambda self: self.env._(
            "Case {{ object.name }} created for {{ object.partner_id.name }}"
        ),
        groups=_MANAGER,
    )
    message_type_case_created = fields.Selection(
        MESSAGE_TYPES, string="New Case Type", default="m.text", groups=_MANAGER
    )
    mention_case_created = fields.Boolean(
        string="Mention in New Case Text", help=_MENTION_NEW, groups=_MANAGER
    )
    notify_case_summary = fields.Boolean(
        string="Case Summaries", default=True, groups=_MANAGER
    )
    template_case_summary = fields.Text(
        string="Case Summary Text",
        default=lambda self: self.env._(
            "Case {{ object.name }} ({{ object.reference }})\n"
            "Client: {{ object.partner_id.name }}\n"
            "Responsible: {{ object.user_id.name or '–' }}\n"
            "Lawyers: {{ object.lawyer_ids.name or '–' }}\n"
            "Stage: {{ object.stage_id.name }}\n"
            "Next hearing: {{ format_datetime(object.next_hearing_date, "
            "dt_format='EEE, d MMM y, HH:mm') or '–' }}"
        ),
        groups=_MANAGER,
    )
    message_type_case_summary = fields.Selection(
        MESSAGE_TYPES, string="Case Summary Type", default="m.text", groups=_MANAGER
    )
    notify_stage_changed = fields.Boolean(
        string="Stage Changes", default=True, groups=_MANAGER
    )
    template_stage_changed = fields.Text(
        string="Stage Change Text",
        default=lambda self: self.env._(
            "Case {{ object.name }} moved to {{ object.stage_id.name }}"
        ),
        groups=_MANAGER,
    )
    message_type_stage_changed = fields.Selection(
        MESSAGE_TYPES, string="Stage Change Type", default="m.text", groups=_MANAGER
    )
    mention_stage_changed = fields.Boolean(
        string="Mention in Stage Change Text", help=_MENTION, groups=_MANAGER
    )
    notify_hearing_created = fields.Boolean(
        string="New Hearings", default=True, groups=_MANAGER
    )
    template_hearing_created = fields.Text(
        string="New Hearing Text",
        default=lambda self: self.env._(
            "Hearing {{ object.name }} on {{ format_datetime(object.date_start, "
            "dt_format='EEE, d MMM y, HH:mm') }}"
            "{{ object.location and ' at ' + object.location }} "
            "(case {{ object.case_id.name }})"
        ),
        groups=_MANAGER,
    )
    message_type_hearing_created = fields.Selection(
        MESSAGE_TYPES, string="New Hearing Type", default="m.text", groups=_MANAGER
    )
    mention_hearing_created = fields.Boolean(
        string="Mention in New Hearing Text", help=_MENTION, groups=_MANAGER
    )
    done_hearing_created = fields.Boolean(
        string="Reactions to New Hearing Finish Activities", help=_DONE, groups=_MANAGER
    )
    notify_hearing_changed = fields.Boolean(
        string="Changed Hearings", default=True, groups=_MANAGER
    )
    template_hearing_changed = fields.Text(
        string="Changed Hearing Text",
        default=lambda self: self.env._(
            "Hearing {{ object.name }} changed: on "
            "{{ format_datetime(object.date_start, "
            "dt_format='EEE, d MMM y, HH:mm') }}"
            "{{ object.location and ' at ' + object.location }} "
            "(case {{ object.case_id.name }})"
        ),
        groups=_MANAGER,
    )
    message_type_hearing_changed = fields.Selection(
        MESSAGE_TYPES, string="Changed Hearing Type", default="m.text", groups=_MANAGER
    )
    mention_hearing_changed = fields.Boolean(
        string="Mention in Changed Hearing Text", help=_MENTION, groups=_MANAGER
    )
    done_hearing_changed = fields.Boolean(
        string="Reactions to Changed Hearing Finish Activities",
        help=_DONE,
        groups=_MANAGER,
    )
    notify_hearing_cancelled = fields.Boolean(
        string="Cancelled Hearings", default=True, groups=_MANAGER
    )
    template_hearing_cancelled = fields.Text(
        string="Cancelled Hearing Text",
        default=lambda self: self.env._(
            "Hearing {{ object.name }} on {{ format_datetime(object.date_start, "
            "dt_format='EEE, d MMM y, HH:mm') }}"
            "{{ object.location and ' at ' + object.location }} is cancelled "
            "(case {{ object.case_id.name }})"
        ),
        groups=_MANAGER,
    )
    message_type_hearing_cancelled = fields.Selection(
        MESSAGE_TYPES,
        string="Cancelled Hearing Type",
        default="m.text",
        groups=_MANAGER,
    )
    mention_hearing_cancelled = fields.Boolean(
        string="Mention in Cancelled Hearing Text", help=_MENTION, groups=_MANAGER
    )
    done_hearing_cancelled = fields.Boolean(
        string="Reactions to Cancelled Hearing Finish Activities",
        help=_DONE,
        groups=_MANAGER,
    )
