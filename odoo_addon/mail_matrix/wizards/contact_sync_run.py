import time

from odoo import fields

from ..tools import content as contents
from ..tools import people
from ..tools.matrix_error import MatrixError

# A person waits: no call is started after the first limit, and each call ends within
# the second.
_SECONDS = 20
_CALL_SECONDS = 8
_MAX_PEOPLE = 1000
_MAX_AVATARS = 40
# Contacts that were not found again are looked up one by one.
_MAX_LOOKUPS = 50
_AVATAR_DAYS = 30


class Run:
    """One run of a sync: what is still to do, and the people found so far."""

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
        """Take the steps; return why the run ended before the last one, or nothing."""
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
                # Without an answer, or when asked to wait, the next step would fail
                # too.
                if error.status is None or error.status in (401, 429):
                    self.is_refused = True
                    return str(error)
                self.notes.append(str(error))
                further = []
            self.todo = [*self.todo[1:], *(further or [])]
        return None

    def add(self, user_id, answer=None, is_direct=None):
        """Remember a person.

        :param answer: what the homeserver says about the person; None if it says
            nothing
        :param is_direct: None if this source does not know
        """
        if user_id == self.account or not contents.is_user_id(user_id):
            return
        known = self.found.setdefault(user_id, {"matrix_user_id": user_id})
        if answer is not None:
            # The same person may be found again, by a source that knows less.
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
        # Invited but not joined yet: the chat exists already.
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
        """Fetch the pictures of contacts that have none, or an old one."""
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
