"""The words that the outbox, the log and the worker share."""

# Another addon adds its own ones with selection_add on matrix.message.mixin.
EVENT_TYPES = [
    ("manual", "Manual message"),
    ("dm", "Direct message"),
    ("chatter", "Chatter"),
    ("automation", "Automation"),
    ("test", "Test message"),
    ("activity_created", "New activity"),
    ("room_replaced", "Room replaced"),
    ("inbound", "From the room"),
]

# What people write; the other events are what Odoo writes about records.
WRITTEN_EVENTS = ("manual", "dm", "chatter", "test")

STATUSES = [("ok", "Sent"), ("failed", "Failed")]

# The outcomes of a line in the log, as people see them.
OUTCOMES = [
    ("ok", "Sent"),
    ("failed", "Failed"),
    ("held", "Waiting for the homeserver"),
    ("not_posted", "Not sent"),
    ("discarded", "Discarded"),
    ("unreadable", "Could not be read"),
    ("read_later", "Read later"),
]

BACKEND_STATES = [
    ("ok", "OK"),
    ("rate_limited", "Slowed down by the homeserver"),
    ("down", "Homeserver unreachable"),
    ("unauthorized", "Account refused"),
    ("misconfigured", "Misconfigured"),
    ("paused", "Paused by an operator"),
]

# What happens to messages for encrypted rooms.
ENCRYPTION_MODES = [
    ("refuse", "Messages are not sent there"),
    ("encrypt", "Messages are encrypted"),
]

# Who gets the keys of the messages.
ENCRYPTION_DEVICES = [
    ("all", "All devices of the people in the room"),
    ("verified", "Only devices that their owner has verified"),
]

# What the worker says about the keys of a backend's device, apart from "ok".
KEYS_STATES = [
    ("refused", "Device of another client"),
    ("lost", "Keys lost"),
    ("moved", "Keys of another database"),
]

# The same for people, with what can be seen without the worker.
ENCRYPTION_STATES = [
    ("ready", "Ready"),
    ("setup", "Being set up"),
    ("unsigned", "Not verified"),
    ("failed", "Set-up failed"),
    *KEYS_STATES,
    ("no_worker", "No worker that encrypts"),
    ("mixed", "Not every worker encrypts"),
]

# Whether the state s of a backend b counts (matrix_backend_status, matrix_backend). One
# seen with another configuration does not; an operator's pause always does. The worker
# cannot use a view of the contract, because it also runs on the previous contract: its
# statements repeat this condition, and a test compares them.
STATE_COUNTS = "s.state = 'paused' OR s.config_version = b.config_version"

# First keys of advisory locks: all of them are listed in sql/migrations/README.md.
# With a backend's id: one sync of contacts for each account at a time.
LOCK_CONTACT_SYNC = 1836348027
# With a backend's id: one request with events from rooms at a time.
LOCK_INBOUND = 1836348028
# With a backend's id: one request at a time waits for LOCK_INBOUND.
LOCK_INBOUND_TURN = 1836348029

MESSAGE_TYPES = [("m.text", "Text (notifies people)"), ("m.notice", "Notice (silent)")]

# Reasons for a failure that Odoo itself writes; the worker's are errcodes of Matrix or
# its own org.odoo.* codes.
ERROR_TEMPLATE = "org.odoo.template"
ERROR_ROOM = "org.odoo.room"
ERROR_NO_RECORD = "org.odoo.no_record"
# The worker writes it too, for rooms that nobody has checked.
ERROR_ENCRYPTED = "org.odoo.encrypted"
# The backend encrypts, and its device's keys cannot be used now.
ERROR_ENCRYPTION = "org.odoo.encryption"
# Devices of people in the room could not get the key: none of them, or, if the message
# was delivered, some of them.
ERROR_NO_KEY = "org.odoo.no_key"
# Delivered, also to devices that are not verified, or to people whose signing keys
# have changed.
ERROR_UNVERIFIED = "org.odoo.unverified"
# The worker could not get the file from Odoo.
ERROR_FILE = "org.odoo.file"
# The worker does not follow to the room that replaced another one: see matrix.inbound.
ERROR_REPLACED = "org.odoo.room_replaced"
ERROR_DISCARDED = "org.odoo.discarded"
ERROR_DELETED = "org.odoo.deleted"
# The worker found that there is no such account on its own homeserver.
ERROR_NO_SUCH_USER = "org.odoo.no_such_user"
# What people wrote and Odoo had accepted for a room that was then not created, or that
# is not to get it any more.
ERROR_ROOM_NOT_CREATED = "org.odoo.room_not_created"
# Nothing went wrong: the record has no room, or Matrix is turned off for it.
ERROR_NO_ROOM = "org.odoo.no_room"
ERROR_OFF = "org.odoo.off"
NOT_POSTED = (ERROR_NO_ROOM, ERROR_OFF)
# What becomes of chatter that is written while its record has no room.
CHATTER_WITHOUT_ROOM = (ERROR_ROOM_NOT_CREATED, ERROR_DISCARDED)
# An event of an encrypted room came in, and could not be decrypted; or it could later.
ERROR_UNREADABLE = "org.odoo.unreadable"
ERROR_READ_LATER = "org.odoo.read_later"
# Outcomes that only the error tells.
OTHER_OUTCOMES = {
    ERROR_DISCARDED: "discarded",
    ERROR_UNREADABLE: "unreadable",
    ERROR_READ_LATER: "read_later",
}
# Logged as failed, but no message of Odoo's has failed.
NOT_FAILED = (*NOT_POSTED, *OTHER_OUTCOMES)
