from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..tools import content as contents
from ..tools import words
from .contact_sync_run import Run


class MatrixContactSync(models.TransientModel):
    """Look for people on the homeserver and keep them as contacts.

    The work is a list of small steps, one call each: when the time is over, the next
    run, here or in the background, does what is left.
    """

    _name = "matrix.contact.sync"
    _description = "Sync Matrix Contacts"

    backend_id = fields.Many2one(
        "matrix.backend",
        required=True,
        default=lambda self: self._default_backend(),
        domain=[("is_active", "=", True)],
    )
    term = fields.Char(
        string="Search For",
        help="Part of a name, or a Matrix ID such as @name:example.org.",
    )
    with_direct = fields.Boolean(
        string="People from Direct Chats",
        default=True,
        help="Everybody with whom the account has a direct chat.",
    )
    with_rooms = fields.Boolean(
        string="People from Linked Rooms",
        help="Everybody in the rooms that the account has joined.",
    )
    state = fields.Selection(
        [
            ("ready", "Ready"),
            ("stopped", "Stopped"),
            ("background", "Continues in the Background"),
            ("done", "Done"),
        ],
        default="ready",
        readonly=True,
    )
    result = fields.Text(readonly=True)
    started_at = fields.Datetime(readonly=True)
    # Steps are calls to the homeserver: no client may write them.
    todo = fields.Json(groups=fields.NO_ACCESS)
    new_count = fields.Integer(groups=fields.NO_ACCESS)
    notes = fields.Json(groups=fields.NO_ACCESS)

    @api.model
    def _default_backend(self):
        return self.env["matrix.backend"].browse(
            self.env["matrix.backend"]._active_for(self.env.company).id
        )

    def action_sync(self):
        """Do as much as possible while a person waits, and say what was found."""
        self.ensure_one()
        self.env["matrix.contact"]._matrix_check_user()
        self.backend_id.check_access("read")
        self.sudo()._run()
        return self._reopen()

    def action_continue_in_background(self):
        self.ensure_one()
        self.env["matrix.contact"]._matrix_check_user()
        if self.state == "stopped":
            self.sudo().state = "background"
            cron = self.env.ref("mail_matrix.matrix_contact_sync_cron_background")
            cron.sudo()._trigger()
        return self._reopen()

    def action_open_contacts(self):
        self.env["matrix.contact"]._matrix_check_user()
        return self.env["ir.actions.act_window"]._for_xml_id(
            "mail_matrix.matrix_contact_action"
        )

    def _reopen(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Sync Contacts"),
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
            "views": [(False, "form")],
            "target": "new",
        }

    # Scheduled work

    @api.model
    def _cron_start(self):
        """Look for people of direct chats and rooms on all active backends."""
        for backend in self.env["matrix.backend"].search([("is_active", "=", True)]):
            self.create(
                {"backend_id": backend.id, "with_rooms": True, "state": "background"}
            )
        self._cron_continue()

    @api.model
    def _cron_continue(self):
        """Continue one sync that runs in the background."""
        waiting = self.search([("state", "=", "background")], order="id")
        if waiting:
            sync = waiting[0]
            if sync._run_in_background() and sync.state == "stopped":
                sync.state = "background"
            sync._notify_person()
            waiting = waiting.filtered(lambda sync: sync.state == "background")
        self.env["ir.cron"]._matrix_tell(done=1, remaining=len(waiting))

    def _run_in_background(self):
        """Run, and return whether the next run may follow at once.

        It may not if the homeserver does not answer or asks to wait, or if the backend
        was turned off: the syncs behind this one would never get their turn.
        """
        try:
            return self._run()
        except UserError as error:
            self.write({"state": "stopped", "result": str(error)})
            return False

    def _notify_person(self):
        kinds = {"done": "success", "background": "info"}
        self.create_uid._bus_send(
            "simple_notification",
            {
                "title": self.env._("Sync Contacts"),
                "message": self.result,
                "type": kinds.get(self.state, "warning"),
            },
        )

    # The work, with all rights

    def _run(self):
        """Take steps until none is left, the time is over or the server refuses.

        Return whether a next run may follow at once.
        """
        # Whoever has it run in the background, too, is answered for backends that they
        # may read.
        self.backend_id.with_user(self.create_uid).check_access("read")
        if not self.backend_id.is_active:
            raise UserError(self.env._("This Matrix backend is turned off."))
        self.env.cr.execute(
            SQL(
                "SELECT pg_try_advisory_xact_lock(%s, %s)",
                words.LOCK_CONTACT_SYNC,
                self.backend_id.id,
            )
        )
        if not self.env.cr.fetchone()[0]:
            raise UserError(
                self.env._(
                    "Another sync of this backend is running. Try again in a minute."
                )
            )
        if self.state in ("ready", "done") or not self.started_at:
            self._begin()
        run = Run(self)
        reason = run.take_steps()
        contacts = self.env["matrix.contact"]
        self.new_count += contacts._store_found(self.backend_id, run.found, self.id)
        if not run.todo and not reason:
            run.fetch_avatars()
        self.todo = run.todo
        self.notes = list(dict.fromkeys([*(self.notes or []), *run.notes]))
        self.state = "stopped" if run.todo else "done"
        self.result = self._words(reason)
        return not run.is_refused

    def _begin(self):
        term = contents.clean(self.term).strip()
        if not (term or self.with_direct or self.with_rooms):
            raise UserError(
                self.env._("Enter a name to search for, or choose where to look.")
            )
        steps = []
        if term:
            lookup = contents.is_user_id(term)
            steps.append(["profile" if lookup else "directory", term])
        if self.with_direct or self.with_rooms:
            steps.append(["rooms", self.with_direct, self.with_rooms])
        self.write(
            {
                "todo": steps,
                "notes": [],
                "new_count": 0,
                # Contacts found before the second in which this began are old.
                "started_at": fields.Datetime.now(),
            }
        )

    def _words(self, reason):
        """Return in words what was found, and why the sync ended."""
        found = self.env["matrix.contact"].search_count(
            [
                ("backend_id", "=", self.backend_id.id),
                ("last_seen", ">=", self.started_at),
                ("found_by", "=", self.id),
            ]
        )
        lines = []
        if found:
            lines.append(
                self.env._(
                    "Contacts found: %(found)s, of which new: %(new)s.",
                    found=found,
                    new=self.new_count,
                )
            )
        elif not self.todo:
            lines.append(self.env._("Nobody was found."))
        if self.todo:
            lines.append(self.env._("Not finished. Click “Continue” to go on."))
            lines.append(reason)
        return "\n".join([*lines, *(self.notes or [])])
