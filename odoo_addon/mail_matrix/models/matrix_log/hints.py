from odoo import api, fields, models

from ...tools import words


class MatrixLog(models.Model):
    """What a manager can do about a delivery that failed."""

    _inherit = "matrix.log"

    hint = fields.Char(string="What to Do", compute="_compute_hint")

    @api.depends(
        "error_code",
        "is_final",
        "status",
        "event_type",
        "matrix_user_id",
        "attachment_id",
        "room_id",
    )
    def _compute_hint(self):
        retry = self.env._("Then click Retry.")
        wait = self.env._("The message will then be sent.")
        hints = self._hints()
        of_actions = {**hints, **self._hints_of_actions()}
        of_people = {**hints, **self._hints_of_people()}
        of_accounts = self._hints_of_accounts()
        of_files = {
            **hints,
            "M_TOO_LARGE": self.env._(
                "Send a smaller file, or have the homeserver take larger ones, then "
                "retry."
            ),
        }
        of_deliveries = {
            words.ERROR_NO_KEY: self.env._(
                "These devices get later messages once their owners open the Matrix "
                "client there, and verify them if the backend encrypts for verified "
                "devices only. They cannot read this one."
            ),
            words.ERROR_UNVERIFIED: self.env._(
                "Ask the owner whether that was them: whoever knows the password or "
                "controls the homeserver can add a device, or replace the signing keys."
                " The owner verifies or removes a device in the Matrix client. On the "
                "page Encryption of the backend you can choose that only verified "
                "devices can read."
            ),
        }
        of_chatter = {**hints, **self._hints_of_lost_chatter()}
        for row in self:
            own = of_actions if row.event_type == "automation" else hints
            own = of_people if row.matrix_user_id else own
            own = of_files if row.attachment_id else own
            if row._is_lost_chatter():
                own = of_chatter
            row.hint = own.get(row.error_code) if row.is_final else False
            if row.status == "ok" and row.error_code in of_deliveries:
                row.hint = of_deliveries[row.error_code]
            if row.error_code in of_accounts:
                # Nothing is sent for the account until a person has acted.
                then = retry if row.is_final else wait
                row.hint = f"{of_accounts[row.error_code]} {then}"

    @api.model
    def _hints(self):
        """Return by error code what a manager can do about it."""
        return {
            "M_FORBIDDEN": self.env._(
                "Correct this in Matrix. “Check Room” on the record shows whether the "
                "account can post. Then click Retry."
            ),
            "M_TOO_LARGE": self.env._(
                "Write a new, shorter message: this one cannot be changed."
            ),
            words.ERROR_FILE: self.env._("Correct what the error says, then retry."),
            "org.odoo.unreachable": self.env._(
                "Test the connection on the backend, then retry."
            ),
            "org.odoo.timeout": self.env._(
                "Test the connection on the backend, then retry."
            ),
            "org.odoo.expired": self.env._(
                "It waited longer than the backend allows. Send it again if it is "
                "still relevant."
            ),
            words.ERROR_REPLACED: self.env._(
                "The room was replaced. Enter the new room on the record, then send "
                "again."
            ),
            "org.odoo.overtaken": self.env._(
                "The room accepted later messages, but not this one. Check whether it "
                "is missing there, then send it again: it will appear below the "
                "others."
            ),
            "org.odoo.nothing_to_change": self.env._(
                "Nothing: what was edited or deleted in Odoo had never reached the "
                "room."
            ),
            "org.odoo.not_logged": self.env._(
                "The database refuses to log the result. Correct what the error says; "
                "the worker tries again."
            ),
            words.ERROR_DISCARDED: self.env._("Send it again if it is still relevant."),
            words.ERROR_DELETED: self.env._(
                "Nothing: it was deleted in Odoo before it was sent."
            ),
            words.ERROR_ENCRYPTED: self.env._(
                "Link a room without encryption, or allow “Send Unencrypted” on the "
                "record; then send again."
            ),
            words.ERROR_NO_KEY: self.env._(
                "A device gets the key once it has published its own: have its owner "
                "open the Matrix client there, and verify it if the backend encrypts "
                "for verified devices only. Then click Retry."
            ),
            words.ERROR_UNREADABLE: self.env._(
                "Ask the sender to write it again. If that does not help, have them "
                "log out of their Matrix client and in again, and on the backend check "
                "that the device is ready. If the key comes within a day, the message "
                "appears in the chatter."
            ),
            words.ERROR_READ_LATER: self.env._("Nothing: it is in the chatter now."),
            words.ERROR_ROOM: self.env._(
                "Correct the room on the record. This event will not be sent later."
            ),
            words.ERROR_ROOM_NOT_CREATED: self.env._(
                "If the record still exists, correct what the error says and create "
                "or link its room; then send again."
            ),
            words.ERROR_NO_ROOM: self.env._(
                "Link or create a room on the record, or enter a default room on the "
                "backend. Earlier events are not sent afterwards, except for the "
                "message that the record was created."
            ),
            words.ERROR_OFF: self.env._("Turn on “Send to Matrix” on the record."),
            words.ERROR_TEMPLATE: self.env._(
                "Correct the text that the error names. This event will not be sent "
                "later."
            ),
        }

    @api.model
    def _hints_of_actions(self):
        """Return the hints that differ for messages of server actions."""
        return {
            words.ERROR_ROOM: self.env._(
                "Enter a room on the record or on the server action. This event will "
                "not be sent later."
            ),
            words.ERROR_NO_RECORD: self.env._(
                "Let an automation rule run the action when records are created, "
                "changed or due, not when they are deleted."
            ),
        }

    @api.model
    def _hints_of_lost_chatter(self):
        """Return the hints that differ for chatter messages that never had a room."""
        return {
            words.ERROR_ROOM_NOT_CREATED: self.env._(
                "If the record still exists, correct what the error says and create "
                "or link its room; then write it again in the chatter."
            ),
            words.ERROR_DISCARDED: self.env._(
                "Write it again in the chatter if it is still relevant."
            ),
        }

    @api.model
    def _hints_of_people(self):
        """Return the hints that differ for direct messages, which have no record."""
        return {
            "M_FORBIDDEN": self.env._(
                "The account may not write to this person. If the person has blocked "
                "it, ask them to allow it, then retry."
            ),
            words.ERROR_NO_SUCH_USER: self.env._(
                "Check the Matrix ID for spelling mistakes, correct it on the contact "
                "or user, then write the message again."
            ),
            words.ERROR_ENCRYPTED: self.env._(
                "Odoo cannot encrypt, and the homeserver encrypts every new room. Ask "
                "its administrator to turn that off, then retry."
            ),
        }

    @api.model
    def _hints_of_accounts(self):
        """Return what to do if the homeserver refuses everything from the account."""
        backend = self.env._("Correct the backend and test the connection.")
        locked = self.env._(
            "The homeserver has locked the account. Ask its administrator to unlock it."
        )
        suspended = self.env._(
            "The homeserver has suspended the account. Ask its administrator to lift "
            "the suspension."
        )
        quota = self.env._(
            "The account has used up its quota. Ask the homeserver's administrator for "
            "a larger one."
        )
        return {
            "M_UNKNOWN_TOKEN": backend,
            "M_MISSING_TOKEN": backend,
            "M_UNAUTHORIZED": backend,
            "M_UNKNOWN_DEVICE": self.env._(
                "The device as which the application service sends is gone. If the "
                "backend encrypts, click “New Device” on its page Encryption; else "
                "click “Send with the Access Token”, then “Send Through It”."
            ),
            "M_UNRECOGNIZED": backend,
            "org.odoo.token": backend,
            "org.odoo.url": backend,
            "org.odoo.redirect": backend,
            "org.odoo.not_matrix": backend,
            "org.odoo.other_database": self.env._(
                "This database is a copy of the one that the backend was set up in. If "
                "that one is no longer used, click “Use It Here” on the backend."
            ),
            words.ERROR_ENCRYPTION: self.env._(
                "The page Encryption of the backend says what is wrong."
            ),
            "M_USER_LOCKED": locked,
            "ORG_MATRIX_MSC3939_USER_LOCKED": locked,
            "M_USER_SUSPENDED": suspended,
            "ORG.MATRIX.MSC3823.USER_ACCOUNT_SUSPENDED": suspended,
            "M_USER_DEACTIVATED": self.env._(
                "The account was deactivated. Enter the token of another one on the "
                "backend."
            ),
            "ORG_MATRIX_EXPIRED_ACCOUNT": self.env._(
                "The account has expired. Ask the homeserver's administrator to renew "
                "it."
            ),
            "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL": self.env._(
                "The homeserver's administrator has to approve the account."
            ),
            "M_CONSENT_NOT_GIVEN": self.env._(
                "Log in with the account in a browser and accept the homeserver's "
                "terms: the error says where."
            ),
            "M_RESOURCE_LIMIT_EXCEEDED": self.env._(
                "The homeserver has reached one of its limits. Ask its administrator."
            ),
            "M_USER_LIMIT_EXCEEDED": quota,
            "ORG.MATRIX.MSC4335.USER_LIMIT_EXCEEDED": quota,
        }
