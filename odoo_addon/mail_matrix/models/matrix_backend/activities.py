from odoo import fields, models

from ...tools import words

_MANAGER = "mail_matrix.group_matrix_manager"


class MatrixBackend(models.Model):
    """New activities in the rooms of their records, and reactions that finish them."""

    _inherit = "matrix.backend"

    notify_activity_created = fields.Boolean(
        string="New Activities",
        help="Activities on records with a Matrix room. Everybody in the room can read "
        "them.",
        groups=_MANAGER,
    )
    template_activity_created = fields.Text(
        string="New Activity Text",
        default=lambda self: self.env._(
            "{{ object.activity_type_id.name }} for {{ object.user_id.name }} until "
            "{{ format_date(object.date_deadline) }}"
            "{{ object.summary and ': ' + object.summary }} ({{ object.res_name }})"
        ),
        groups=_MANAGER,
    )
    message_type_activity_created = fields.Selection(
        words.MESSAGE_TYPES,
        string="New Activity Type",
        default="m.text",
        groups=_MANAGER,
    )
    mention_activity_created = fields.Boolean(
        string="Mention in New Activity Text",
        default=True,
        help="The message notifies the person to whom the activity is assigned, if "
        "they are in the room. Nobody is notified of what they did themselves.",
        groups=_MANAGER,
    )
    done_activity_created = fields.Boolean(
        string="Reactions Finish Activities",
        default=True,
        help="If the person to whom the activity is assigned reacts to the message "
        "with 👍 or ✅, the activity is marked as done. This needs messages from "
        "rooms, and the person's Matrix account.",
        groups=_MANAGER,
    )
