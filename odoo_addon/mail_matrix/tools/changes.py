"""Events that change earlier ones in a room."""

from . import content as contents

# Holds the transaction id of the message that is changed. The worker finds the event
# that the homeserver created for it.
CHANGES = "org.odoo.changes"
REDACTION = "m.room.redaction"

# Where the text of an edit is cut for clients that do not support edits.
_FALLBACK = 2_000
_TEXT = ("msgtype", "body", "format", "formatted_body", "m.mentions")


def edit(content, target):
    """Return the content of an edit: the message ``target`` says ``content`` now.

    Mentions in the new text do not notify anybody again.
    """
    new = {key: content[key] for key in _TEXT if key in content}
    fallback = f"* {new['body']}"
    if len(fallback) > _FALLBACK:
        fallback = fallback[:_FALLBACK] + contents.ELLIPSIS
    rest = {key: value for key, value in content.items() if key not in _TEXT}
    edited = {
        **rest,
        "msgtype": new["msgtype"],
        "body": fallback,
        "m.new_content": new,
        "m.mentions": {},
        CHANGES: target,
    }
    if not contents.fits(edited):
        edited["m.new_content"] = contents.without_html(new)
    return edited


def redaction(reason, target, txn_id):
    """Return the content of a redaction of the message ``target``.

    Redactions are unencrypted even in encrypted rooms: Matrix has no encrypted ones.
    """
    return {
        "reason": reason,
        CHANGES: target,
        contents.MARKER: txn_id,
        contents.UNENCRYPTED: True,
    }
