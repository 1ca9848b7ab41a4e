import time

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..tools import content as contents
from ..tools import people, words
from ..tools.matrix_client import MatrixError

# A person waits: no call is begun after this, and each one ends within the other.
_SECONDS = 20
_CALL_SECONDS = 8
_MAX_PEOPLE = 1000
_MAX_AVATARS = 40
# Contacts that were not found again are looked up one by one.
_MAX_LOOKUPS = 50
_AVATAR_DAYS = 30


class MatrixContactSync(models.TransientModel):
    """Look for people on the homeserver and keep them as contacts.

    The work is a list of small steps, each one call: what is left when the time is over
    is done by the next run, here or in the background.
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
    # Steps are calls to the homeserver: nobody writes them from outside.
    todo = fields.Json(groups=fields.NO_ACCESS)
    new_count = fields.Integer(groups=fields.NO_ACCESS)
    notes = fields.Json(groups=fields.NO_ACCESS)

    @api.model
    def _default_backend(self):
        return self.env["matrix.backend"].browse(
            self.env["matrix.backend"]._active_for(self.env.company).id
        )

    def action_sync(self):
        """Do as much as a person may be kept waiting for, and say what was found."""
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
        """Go on with one sync that runs in the background."""
        waiting = self.search([("state", "=", "background")], order="id")
        if waiting:
            sync = waiting[0]
            if sync._run_in_background() and sync.state == "stopped":
                sync.state = "background"
            sync._notify_progress()
            waiting = waiting.filtered(lambda sync: sync.state == "background")
        self.env["ir.cron"]._notify_progress(done=1, remaining=len(waiting))

    def _run_in_background(self):
        """Run, and return whether the next run may follow at once.

        Not where the homeserver does not answer or asks to wait, nor where the backend
        was turned off: the syncs behind this one would never have their turn.
        """
        try:
            return self._run()
        except UserError as error:
            self.write({"state": "stopped", "result": str(error)})
            return False

    def _notify_progress(self):
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
        run = _Run(self)
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
                # What was found before the second in which this began is old.
                "started_at": fields.Datetime.now(),
            }
        )

    def _words(self, reason):
        """Return in words what was found, and why it ended where it ended."""
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


class _Run:
    """One stretch of a sync: what is still to do and whom it has found."""

    def __init__(self, sync):
        self.sync = sync
        self.env = sync.env
        self.backend = sync.backend_id
        self.client = self.backend._client(
            connect_timeout=4, read_timeout=4, total_timeout=_CALL_SECONDS
        )
        self.until = time.monotonic() + _SECONDS
        self.todo = list(sync.todo or [])
        self.found = {}
        self.notes = []
        self.account = None
        self.is_refused = False

    def has_time(self):
        return time.monotonic() < self.until

    def take_steps(self):
        """Return why the run ended before its last step, or nothing."""
        while self.todo:
            if not self.has_time():
                return self.env._("The time limit was reached.")
            if len(self.found) >= _MAX_PEOPLE:
                return self.env._(
                    "No more than %(people)s people are read at once.",
                    people=_MAX_PEOPLE,
                )
            try:
                self.account = self.account or self.client.whoami()["user_id"]
                name, *arguments = self.todo[0]
                further = getattr(self, f"step_{name}")(*arguments)
            except MatrixError as error:
                # Without an answer, or told to wait, the next step would fare alike.
                if error.status is None or error.status in (401, 429):
                    self.is_refused = True
                    return str(error)
                self.notes.append(str(error))
                further = []
            self.todo = [*self.todo[1:], *(further or [])]
        return None

    def add(self, user_id, answer=None, is_direct=None):
        """Remember a person.

        :param answer: the homeserver's words on the person; None where it has none
        :param is_direct: None where this source does not know
        """
        if user_id == self.account or not contents.is_user_id(user_id):
            return
        known = self.found.setdefault(user_id, {"matrix_user_id": user_id})
        if answer is not None:
            # The same person may be met again, by a source that knows less.
            for name, value in people.profile(user_id, answer).items():
                known[name] = known.get(name) or value
        if is_direct is not None:
            known["is_direct"] = known.get("is_direct") or is_direct

    def step_directory(self, term):
        try:
            answers, is_limited = self.client.search_users(term)
        except MatrixError as error:
            if error.status in (403, 404, 405) or error.errcode == "M_UNRECOGNIZED":
                self.notes.append(
                    self.env._(
                        "This homeserver does not let the account search its user "
                        "directory. Enter a whole Matrix ID instead."
                    )
                )
                return
            raise
        for answer in answers[:_MAX_PEOPLE]:
            user_id = answer.get("user_id")
            if isinstance(user_id, str):
                self.add(user_id, answer)
        if is_limited or len(answers) > _MAX_PEOPLE:
            self.notes.append(
                self.env._("The directory has more people: search for a longer term.")
            )
        if not answers:
            self.notes.append(
                self.env._(
                    "The directory found nobody for “%(term)s”. Most homeservers list "
                    "only people who share a room with the account or are in public "
                    "rooms, unless their administrator opens the directory (Synapse: "
                    "user_directory.search_all_users). A whole Matrix ID, such as "
                    "@name:example.org, is looked up anyway.",
                    term=term[:100],
                )
            )

    def step_profile(self, user_id):
        profile = self.client.profile(user_id)
        if profile is not None:
            self.add(user_id, profile)
            return
        known = self.env["matrix.contact"].search(
            [
                ("backend_id", "=", self.backend.id),
                ("matrix_user_id", "=", user_id),
            ]
        )
        known.write({"is_gone": True, "is_direct": False})
        if not known:
            self.notes.append(
                self.env._("There is no account %(account)s.", account=user_id[:255])
            )

    def step_rooms(self, with_direct, with_rooms):
        joined = set(self.client.joined_rooms())
        direct = {}
        if with_direct:
            data = self.client.account_data(self.account, "m.direct")
            for user_id, rooms in people.direct_rooms(data).items():
                for room in joined.intersection(rooms):
                    direct.setdefault(room, []).append(user_id)
        rooms = joined if with_rooms else direct
        steps = [["room", room, direct.get(room, [])] for room in sorted(rooms)]
        return [*steps, ["missing"]] if with_direct else steps

    def step_room(self, room, direct_with):
        members = self.client.joined_members(room)
        for user_id, answer in members.items():
            is_direct = user_id in direct_with
            if is_direct or self.sync.with_rooms:
                knows = self.sync.with_direct
                self.add(user_id, answer, is_direct if knows else None)
        # Invited, and not there yet: the chat exists all the same.
        for user_id in direct_with:
            self.add(user_id, is_direct=True)

    def step_missing(self):
        """Look up those who were in a direct chat when they were last found."""
        contacts = self.env["matrix.contact"].search(
            [
                ("backend_id", "=", self.backend.id),
                ("is_gone", "=", False),
                ("last_seen", "<", self.sync.started_at),
                ("matrix_user_id", "not in", list(self.found)),
            ],
            order="last_seen",
            limit=_MAX_LOOKUPS,
        )
        contacts.is_direct = False
        return [["profile", contact.matrix_user_id] for contact in contacts]

    def fetch_avatars(self):
        """Bring the pictures of contacts that have none, or an old one."""
        old = fields.Datetime.subtract(fields.Datetime.now(), days=_AVATAR_DAYS)
        contacts = self.env["matrix.contact"].search(
            [
                ("backend_id", "=", self.backend.id),
                ("avatar_url", "!=", False),
                "|",
                ("avatar_fetched_at", "=", False),
                ("avatar_fetched_at", "<", old),
            ],
            order="avatar_fetched_at NULLS FIRST, id",
            limit=_MAX_AVATARS,
        )
        for contact in contacts:
            if not self.has_time():
                break
            try:
                raw = self.client.thumbnail(contact.avatar_url, people.AVATAR_PIXELS)
            except MatrixError as error:
                if error.status is None or error.status == 429:
                    break
                raw = None
            contact.write(
                {
                    "image_1920": people.avatar_png(raw) or False,
                    "avatar_fetched_at": fields.Datetime.now(),
                }
            )
