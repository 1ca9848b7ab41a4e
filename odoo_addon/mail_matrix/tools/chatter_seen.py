"""Parts of a message that are not for its reader: history, signatures, hidden text."""

import re
from itertools import islice

# A reader of the message does not see their text.
_UNSEEN = {
    *("script", "style", "head", "title", "meta", "link", "base", "template"),
    *("object", "embed", "applet", "iframe", "frame", "frameset", "noscript"),
    *("noframes", "svg", "math", "canvas", "audio", "video", "map", "select"),
    *("datalist", "textarea", "button", "input", "xml", "xmp", "plaintext"),
}

_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all"
    r"|(?<![\w-])(?:font-size|opacity|max-height)\s*:\s*0(?:\.0*)?(?:px|pt|em|%)?\s*(?:;|!|$)",
    re.IGNORECASE,
)

_HISTORY = re.compile(
    r"gmail_quote|gmail_extra|yahoo_quoted|moz-cite-prefix|OutlookMessageHeader"
    r"|divRplyFwdMsg|protonmail_quote|tutanota_quote|zmail_extra"
)
_SIGNATURE = re.compile(
    r"signature_wrapper|gmail_signature|moz-signature|o-signature-container"
    r"|protonmail_signature|ms-outlook-mobile-signature|(?:^|\s)Signature$"
)
_RULE_ABOVE = re.compile(r"border-top\s*:\s*solid|border\s*:\s*none\s*;\s*border-top")
_FROM = re.compile(r"\s*(?:from|von|de|da|van|od)\s*:", re.IGNORECASE)
_ATTRIBUTION = re.compile(
    r"(?:^|\n)[^\n]{0,300}\b(?:wrote|schrieb|a écrit|escribió|ha scritto|schreef)\b"
    r"[^\n]{0,200}:\s*$",
    re.IGNORECASE,
)


def is_unseen(source):
    """Whether ``source``, an element of a message, contains nothing for its reader."""
    if source.tag in _UNSEEN:
        return True
    if not len(source.attrib):
        return False
    if _HIDDEN.search((source.get("style") or "")[:2000]):
        return True
    return source.get("hidden") is not None or bool(_SIGNATURE.search(_names(source)))


def is_quoted(source, is_mail):
    """Whether ``source`` repeats what was said before.

    :param bool is_mail: somebody who writes in Odoo quotes on purpose
    """
    is_blockquote = source.tag == "blockquote"
    if not len(source.attrib):
        return is_blockquote and is_mail
    if is_blockquote and not is_mail:
        return "gmail_quote" in _names(source)
    if is_blockquote or source.get("data-o-mail-quote"):
        return True
    return bool(_HISTORY.search(_names(source)))


def begins_history(source):
    """Whether ``source`` and all below it is what Outlook puts below an answer."""
    if source.tag != "div" or not len(source.attrib):
        return False
    if not _RULE_ABOVE.search((source.get("style") or "")[:500]):
        return False
    begin = "".join(element.text or "" for element in islice(source.iter(), 10))
    return bool(_FROM.match(begin[:200]))


def without_attribution(text):
    """Return ``text`` without a line “On Monday Ann wrote:” at its end."""
    text = text or ""
    return text[:-600] + _ATTRIBUTION.sub("", text[-600:])


def _names(source):
    return f"{source.get('class') or ''} {source.get('id') or ''}"[:2000]
