import json
from itertools import count

from odoo.tests import HttpCase

from odoo.addons.mail_matrix.tests.homeserver import TOKEN, Homeserver

from .common import ROOM, TicketCase

ANNA = "@anna:example.org"
BOT = "@odoo:example.org"
_NUMBERS = count(1)


class InboundCase(TicketCase):
    """Events as a homeserver hands them over, for the ticket's room."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.backend_state("ok", matrix_user_id=BOT)

    @classmethod
    def serve_files(cls):
        """Start a homeserver from which files can be fetched."""
        cls.homeserver = Homeserver()
        cls.addClassCleanup(cls.homeserver.stop)
        cls.backend.write(
            {
                "homeserver_url": cls.homeserver.url,
                "personal_access_token": TOKEN,
                "inbound_mode": "follow",
            }
        )

    @classmethod
    def event(cls, content, **values):
        return {
            "type": "m.room.message",
            "event_id": f"$event{next(_NUMBERS)}",
            "room_id": ROOM,
            "sender": ANNA,
            "origin_server_ts": 1_700_000_000_000,
            "content": content,
            **values,
        }

    @classmethod
    def text(cls, body="Hello", content=None, **values):
        return cls.event(
            {"msgtype": "m.text", "body": body, **(content or {})}, **values
        )

    @classmethod
    def edit_of(cls, original, body, **values):
        new = {"msgtype": "m.text", "body": body}
        relation = {"rel_type": "m.replace", "event_id": original["event_id"]}
        content = {"m.new_content": new, "m.relates_to": relation}
        return cls.text(f"* {body}", content, **values)

    @classmethod
    def redaction_of(cls, original, **values):
        content = {"redacts": original["event_id"]}
        return cls.event(content, type="m.room.redaction", **values)

    @classmethod
    def reaction_to(cls, event_id, key="👍", **values):
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return cls.event({"m.relates_to": relation}, type="m.reaction", **values)

    @classmethod
    def answer_to(cls, event_id, body, **values):
        relation = {"m.in_reply_to": {"event_id": event_id}}
        return cls.text(body, {"m.relates_to": relation}, **values)

    def ingest(self, *events, names=None, backend=None):
        """Take over ``events``; return the notes that the ticket has, oldest first."""
        backend = backend or self.backend
        self.env["matrix.inbound"]._ingest(backend, list(events), names or {})
        self.commit()
        return self.notes()

    def notes(self, record=None):
        record = record or self.ticket
        note = self.env.ref("mail.mt_note")
        domain = [("model", "=", record._name), ("res_id", "=", record.id)]
        domain += [("message_type", "=", "comment"), ("subtype_id", "=", note.id)]
        return self.env["mail.message"].search(domain, order="id")


class AppServiceCase(HttpCase, InboundCase):
    """The homeserver sends what is written in rooms."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.backend.inbound_mode = "appservice"
        cls.secret = cls.backend._inbound_secret()

    def put(self, events, secret=None, txn_id="1", body=None, **headers):
        headers = {
            "Authorization": f"Bearer {secret or self.secret}",
            "Content-Type": "application/json",
            **headers,
        }
        url = f"{self.base_url()}{self.path()}/transactions/{txn_id}"
        data = json.dumps({"events": events}) if body is None else body
        return self.opener.put(url, data=data, headers=headers, timeout=300)

    def path(self):
        return f"/mail_matrix/appservice/{self.backend.id}/_matrix/app/v1"
