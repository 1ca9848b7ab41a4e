"""HTML of the chatter as the small part of HTML that Matrix allows.

The result is built from nothing but allowed tags, so what this module does not know
cannot get through. Its size, its depth and the time that it takes are bounded.
"""

import re
from itertools import islice
from typing import NamedTuple

from lxml import etree

from .chatter_links import ELLIPSIS, UNSTORABLE, address, without_secrets
from .chatter_seen import begins_history, is_quoted, is_unseen, without_attribution
from .chatter_text import BLOCKS, NAME, to_text
from .html_tags import without_overload

# Longer sources are cut before they are parsed, and longer texts while they are read.
# Scanning goes further than that, because pictures may come before the text.
MAX_SCANNED = 1_500_000
MAX_SOURCE = 80_000
MAX_TAGS = 1_600
# Each "&" that is not an entity is an error that the parser records.
MAX_REFERENCES = 8_000
MAX_TEXT = 8_000
# The addresses of links count too: the plain text shows them. Short ones count as much
# as long ones, and those that lead nowhere as well: each takes time.
MAX_ADDRESSES = 12_000
MIN_ADDRESS = 40
# Matrix allows a depth of 100, including the clients' own wrappers.
MAX_DEPTH = 60

_INLINE = {
    *("a", "b", "i", "u", "s", "em", "strong", "code", "del", "sub", "sup", "br"),
    *("th", "td"),
}
_ALLOWED = BLOCKS | _INLINE
_SAME_AS = {
    **dict.fromkeys(("section", "article", "main", "header", "footer"), "div"),
    **dict.fromkeys(("center", "address", "figure", "fieldset", "dl", "dt"), "div"),
    **dict.fromkeys(("dd", "nav", "aside", "form"), "div"),
    **dict.fromkeys(("tt", "kbd", "samp"), "code"),
    **{"strike": "del", "ins": "u", "tfoot": "tbody"},
}
_IN_LISTS = {"li"}
# Each line in them begins with a margin.
_WITH_MARGIN = {"ul", "ol", "blockquote"}
_IN_TABLES = {"caption", "thead", "tbody", "tr", "th", "td"}

_EMBEDDED = re.compile(r"data:[^\"'>\s]{64,}")
_BLANKS = re.compile("[ \t\r\n\f]+")


class Reading(NamedTuple):
    """What was read from a source."""

    text: str
    html: str
    is_cut: bool
    mentioned: list  # Matrix user ids, in the order of the text


def read(source, base_url="", people=None, is_mail=False):
    """Return the :class:`Reading` of ``source``, HTML as Odoo stores it.

    :param str base_url: where relative links lead; empty drops them
    :param dict people: Matrix user ids of partners, by the partner's id
    :param bool is_mail: quoted text is the history of an exchange, not the author's
    """
    bounded, is_cut = _bounded(source or "")
    reader = _Reader(base_url, people or {}, is_mail)
    if bounded.strip():
        parser = etree.HTMLParser(
            encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True
        )
        document = etree.fromstring(bounded.encode(), parser)
        if document is not None:
            reader.walk(document)
    if is_cut and not reader.is_cut:
        reader.say(ELLIPSIS)
    text = to_text(reader.root)
    etree.strip_attributes(reader.root, NAME)
    is_cut = is_cut or reader.is_cut
    return Reading(text, _to_html(reader.root), is_cut, reader.mentioned)


def _bounded(source):
    """Return the part of ``source`` that is parsed, and whether something was cut."""
    scanned = source[:MAX_SCANNED]
    text = _EMBEDDED.sub("", scanned)
    end = min(len(text), MAX_SOURCE)
    for mark, most in (("<", MAX_TAGS), ("&", MAX_REFERENCES)):
        found = islice(re.finditer(mark, text[:end]), most, None)
        end = next((match.start() for match in found), end)
    is_cut = end < len(text) or len(scanned) < len(source)
    return without_overload(UNSTORABLE.sub("", text[:end])), is_cut


def _to_html(tree):
    """Return what is in ``tree`` as HTML, ready to follow words on the same line."""
    first = tree[0] if len(tree) else None
    if (
        first is None
        or (tree.text or "").strip()
        or first.tag not in ("p", "div")
        or any(child.tag in BLOCKS for child in first.iterdescendants())
    ):
        return _inner(tree)
    rest = "".join(map(_serialize, tree[1:]))
    tail = _escape(first.tail)
    gap = "<br>" if tail or (rest and tree[1].tag not in BLOCKS) else ""
    return f"{_inner(first)}{gap}{tail}{rest}"


def _inner(element):
    return _escape(element.text) + "".join(map(_serialize, element))


def _serialize(element):
    return etree.tostring(element, encoding="unicode", method="html")


def _escape(text):
    return (text or "").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _Reader:
    """Copies what is allowed from a parsed source into a new tree."""

    def __init__(self, base_url, people, is_mail):
        self.base_url = base_url
        self.people = people
        self.is_mail = is_mail
        self.root = etree.Element("div")
        self.open = [self.root]  # the elements that are being written, outermost first
        self.is_after_blank = True
        self.preformatted = 0
        self.left = MAX_TEXT
        self.left_for_addresses = MAX_ADDRESSES
        self.is_cut = False
        self.has_history = False
        self.mentioned = []

    def walk(self, document):
        pushed = {}  # by depth in the source: elements written for it
        depth = 0
        walk = etree.iterwalk(document, events=("start", "end"))
        for event, source in walk:
            if event == "start":
                depth += 1
                if self.is_mail and begins_history(source):
                    return
                if self._is_dropped(source):
                    walk.skip_subtree()
                    pushed[depth] = None
                    continue
                pushed[depth] = self._start(source)
                self.say(source.text)
            else:
                self._end(pushed.pop(depth, None))
                depth -= 1
                if depth:
                    self.say(source.tail)
            if self.is_cut:
                return

    def say(self, text):
        """Append ``text`` as people will read it, up to the limit of MAX_TEXT."""
        if not text or self.is_cut:
            return
        if not text.isprintable():
            text = UNSTORABLE.sub("", text)
        if self.preformatted:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        else:
            text = _BLANKS.sub(" ", text)
            if self.is_after_blank:
                text = text.removeprefix(" ")
        if not text:
            return
        self.is_cut = len(text) > self.left
        text = without_secrets(text[: self.left])
        if self.is_cut:
            text = text.rstrip() + ELLIPSIS
        self.left -= len(text)
        self.is_after_blank = text.endswith(" ")
        self._append(text.replace("\xa0", " "))

    def _count_margin(self, open_tags):
        """Count the margin that the text will have before the line that begins here."""
        self.left -= 2 * sum(tag in _WITH_MARGIN for tag in open_tags)
        if self.left < 0:
            self.is_cut = True
            self._append(ELLIPSIS)

    def _append(self, text):
        parent = self.open[-1]
        if len(parent):
            parent[-1].tail = (parent[-1].tail or "") + text
        else:
            parent.text = (parent.text or "") + text

    def _start(self, source):
        """Open the element for ``source`` and return it, or None if there is none."""
        tag = _SAME_AS.get(source.tag, source.tag)
        if tag == "img":
            self.say(_meaning(source.get("alt")))
        if tag == "table" and _is_layout(source):
            tag = "div"
        open_tags = [element.tag for element in self.open]
        if tag in _IN_LISTS and not {"ul", "ol"} & set(open_tags):
            tag = "div"
        if tag in _IN_TABLES and "table" not in open_tags:
            tag = "div"
        if tag not in _ALLOWED or len(self.open) >= MAX_DEPTH:
            return None
        attributes = {}
        if tag == "a":
            attributes = {} if "a" in open_tags else self._link(source)
            if not attributes:
                return None
        if tag == "ol" and re.fullmatch(r"\d{1,6}", source.get("start") or ""):
            attributes["start"] = source.get("start")
        element = etree.SubElement(self.open[-1], tag, attributes)
        if tag in BLOCKS or tag in ("br", "td", "th"):
            self.is_after_blank = True
        if tag in BLOCKS or tag == "br":
            self._count_margin(open_tags)
        if tag in ("br", "hr"):
            # These elements are always empty, whatever the source has in them.
            return None
        self.preformatted += tag == "pre"
        self.open.append(element)
        return element

    def _end(self, element):
        if element is None:
            return
        self.open.pop()
        self.preformatted -= element.tag == "pre"
        if element.tag in BLOCKS or element.tag in ("td", "th"):
            self.is_after_blank = True
        if element.tag not in ("td", "th") and not len(element) and not element.text:
            self.open[-1].remove(element)

    def _is_dropped(self, source):
        if is_unseen(source):
            return True
        if not is_quoted(source, self.is_mail):
            return False
        if self.is_mail and not self.has_history:
            self.has_history = True
            self._take_back_attribution()
        return True

    def _take_back_attribution(self):
        """Remove a line “On Monday Ann wrote:” that comes before what is dropped."""
        parent = self.open[-1]
        last = parent[-1] if len(parent) else None
        if last is None:
            parent.text = without_attribution(parent.text)
        elif last.tail and last.tail.strip():
            last.tail = without_attribution(last.tail)
        elif not without_attribution("".join(last.itertext())).strip():
            parent.remove(last)

    def _link(self, source):
        """Return the attributes of a link, or nothing if it is not allowed."""
        is_name = "o_mail_redirect" in (source.get("class") or "")
        if is_name and source.get("data-oe-model") == "res.partner":
            number = source.get("data-oe-id") or ""
            known = number.isdecimal() and len(number) < 10
            user = self.people.get(int(number)) if known else None
            if not user:
                return {}
            if user not in self.mentioned:
                self.mentioned.append(user)
            return {"href": f"https://matrix.to/#/{user}", NAME: "1"}
        if self.left_for_addresses <= 0:
            return {}
        url = address(source.get("href"), self.base_url)
        length = max(len(url or ""), MIN_ADDRESS)
        if length > self.left_for_addresses:
            return {}
        self.left_for_addresses -= length
        if not url:
            return {}
        return {"href": url, NAME: "1"} if is_name else {"href": url}


def _meaning(alternative):
    """Return the alternative text of a picture, if it means something."""
    text = _BLANKS.sub(" ", alternative or "").strip()
    if len(text) > 200 or not re.search(r"\w", text):
        # Pictures used as a smiley have the smiley as their text.
        return text if len(text) <= 8 else ""
    is_file = re.fullmatch(r"\S*\.(?:png|jpe?g|gif|svg|webp|bmp)", text, re.IGNORECASE)
    is_stock = text.lower() in ("image", "logo", "picture", "bild", "icon", "photo")
    return "" if is_file or is_stock else f"[{text}]"


def _is_layout(table):
    """Whether ``table`` only places its content, as most tables in mails do."""
    if table.get("role") == "presentation":
        return True
    return any(inner.tag == "table" for inner in islice(table.iterdescendants(), 200))
