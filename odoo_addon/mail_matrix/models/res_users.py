from urllib.parse import urlsplit

from odoo import api, fields, models
from odoo.exceptions import AccessError, RedirectWarning, UserError, ValidationError
from odoo.tools.sql import index_exists

from ..tools import content as contents

_MAPPING = {"matrix_user_id", "matrix_display_name"}
_OWN = {*_MAPPING, "matrix_failure_notice"}
# In seconds.
_WHILE_TYPING = {"connect_timeout": 1, "read_timeout": 2, "total_timeout": 3}


class ResUsers(models.Model):
    """A user's Matrix account, entered by the user or by a Matrix Manager."""

    _inherit = "res.users"

    matrix_user_id = fields.Char(
        string="Matrix ID",
        copy=False,
        groups="mail_matrix.group_matrix_user",
        help="For example @name:example.org. Rooms that Odoo creates invite it.",
    )
    matrix_display_name = fields.Char(
        string="Name in Matrix",
        copy=False,
        groups="mail_matrix.group_matrix_user",
        help="What others see there. Empty: the name in Odoo.",
    )
    matrix_failure_notice = fields.Selection(
        [
            ("activity", "By an activity on the record"),
            ("notification", "By a notification"),
            ("none", "Not at all"),
        ],
        string="Failed Matrix Messages",
        default="activity",
        groups="mail_matrix.group_matrix_user",
        help="How you are notified of a message that you caused and that could not be "
        "sent.",
    )

    def init(self):
        result = super().init()
        # Even if it exists, CREATE INDEX IF NOT EXISTS would lock the table.
        if not index_exists(self.env.cr, "res_users_matrix_user_id_key"):
            self.env.cr.execute(
                """
                CREATE UNIQUE INDEX res_users_matrix_user_id_key
                    ON res_users (matrix_user_id) WHERE matrix_user_id IS NOT NULL
                """
            )
        return result

    @property
    def SELF_READABLE_FIELDS(self):
        return [*super().SELF_READABLE_FIELDS, *_OWN]

    @property
    def SELF_WRITEABLE_FIELDS(self):
        return [*super().SELF_WRITEABLE_FIELDS, *_OWN]

    @api.constrains("matrix_user_id")
    def _check_matrix_user_id(self):
        for user in self:
            account = user.matrix_user_id
            if account and not contents.is_user_id(account):
                raise ValidationError(
                    self.env._(
                        "“%(account)s” is not a valid Matrix account. Write it as "
                        "@name:example.org, with at most 255 bytes.",
                        account=account[:300],
                    )
                )

    @api.onchange("matrix_user_id")
    def _onchange_matrix_user_id(self):
        """Warn at once if the former account stays in rooms, or if our own homeserver
        has no such account.

        Asked while a person types: the time limit is short, and a failure is ignored.
        """
        vals = self._matrix_tidy({"matrix_user_id": self.matrix_user_id})
        account = self.matrix_user_id = vals.get("matrix_user_id", False)
        return self._matrix_warning_of_former() or self._matrix_warning_of(account)

    def _matrix_warning_of(self, account):
        """Return a warning if our own homeserver does not know ``account``."""
        if not account or not contents.is_user_id(account) or self.env.user.share:
            return None
        backend = self.env["matrix.backend"]._active_for(self.env.company)
        try:
            known = not backend or backend._client(**_WHILE_TYPING).knows(account)
        except UserError:
            return None
        if known:
            return None
        return {
            "warning": {
                "type": "notification",
                "title": self.env._("Unknown Matrix account"),
                "message": self.env._(
                    "%(host)s has no account %(account)s. Is it spelled correctly? "
                    "Capital letters count.",
                    host=urlsplit(backend.homeserver_url).hostname,
                    account=account,
                ),
            }
        }

    @api.model_create_multi
    def create(self, vals_list):
        vals_list = [self._matrix_tidy(vals) for vals in vals_list]
        for vals in vals_list:
            if vals.get("matrix_user_id"):
                self.browse()._refuse_second_mapping(vals["matrix_user_id"])
        return super().create(vals_list)

    def write(self, vals):
        vals = self._matrix_tidy(vals)
        if not self.env.su and vals.keys() & _MAPPING:
            self._refuse_mapping_by_customers()
        if vals.get("matrix_user_id"):
            self._refuse_second_mapping(vals["matrix_user_id"])
        if vals and vals.keys() <= _MAPPING and self._may_map():
            # With all rights: a Matrix Manager need not manage users.
            self.check_access("read")
            self = self.sudo()
        result = super().write(vals)
        if {"matrix_user_id", "active"} & vals.keys():
            self.env["matrix.room.person"]._look_again(self)
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_except_matrix_bot(self):
        # Without the bot, or its XML ID, any other user can still be deleted.
        bot = self.env.ref("mail_matrix.user_matrix_bot", False)
        if bot and bot in self:
            raise UserError(
                self.env._(
                    "The Matrix Bot cannot be deleted: it is the author of what people "
                    "without a user write in rooms."
                )
            )

    def action_start_matrix_dm(self):
        """Open the composer for a direct message to this user."""
        self.ensure_one()
        contacts = self.env["matrix.contact"]
        contacts._matrix_check_user()
        return contacts._composer_action({"default_user_id": self.id})

    def _matrix_own_account(self):
        """Return this user's account; if there is none, show where to enter it."""
        self.ensure_one()
        # With all rights: users outside the group have the field in their preferences
        # only.
        account = self.sudo().matrix_user_id
        if account:
            return account
        preferences = self.env["ir.actions.act_window"]._for_xml_id(
            "base.action_res_users_my"
        )
        raise RedirectWarning(
            self.env._(
                "You have not entered your Matrix ID yet. Open your preferences, enter "
                "it as @name:example.org, and send again."
            ),
            {**preferences, "res_id": self.id},
            self.env._("Open Preferences"),
        )

    def _refuse_mapping_by_customers(self):
        """Raise AccessError for portal users, who may write their own user.

        In Matrix they would be taken for members of the office.
        """
        if self.env.user.share:
            raise AccessError(self.env._("Portal users cannot have a Matrix account."))

    def _may_map(self):
        """Whether this user is a Matrix Manager in a company of each of these."""
        companies = self.env.user.company_ids
        return self.env.user.has_group("mail_matrix.group_matrix_manager") and all(
            user.company_ids & companies for user in self.sudo()
        )

    @api.model
    def _matrix_tidy(self, vals):
        """Return ``vals`` with the account as Matrix writes it.

        The server's name is put in lower case. The name before it is kept: old accounts
        have capitals in it, and Matrix distinguishes them.
        """
        account = vals.get("matrix_user_id")
        if isinstance(account, str):
            name, colon, server = account.strip().partition(":")
            return {**vals, "matrix_user_id": name + colon + server.lower() or False}
        return vals

    def _refuse_second_mapping(self, account):
        """Raise ValidationError if two users would have ``account``.

        Checked before the write: after it, the index res_users_matrix_user_id_key,
        which stops two transactions at the same time, would raise its own error first.
        """
        # With all rights: the other one may be archived, or of another company.
        twin = (
            self.sudo()
            .with_context(active_test=False)
            .search([("matrix_user_id", "=", account), ("id", "not in", self.ids)])
        )
        if twin or len(self) > 1:
            raise ValidationError(
                self.env._(
                    "The Matrix account %(account)s belongs to another user already.",
                    account=account,
                )
            )
