"""Texts of events with formatting: HTML, in whose words expressions may stand."""

import re

from lxml import etree
from markupsafe import escape

from . import chatter_html
from .content import MAX_CONTENT_BYTES
from .html_tags import without_overload
from .template import render_pieces
from .template_syntax import TemplateError

# Where a value goes until the HTML is complete: a character for private use around its
# number.
_PLACE = "\ue000"
_PLACES = re.compile(f"{_PLACE}([0-9]+){_PLACE}")


def texts(source):
    """Return the texts between the tags of ``source``, each with its expressions.

    Raises TemplateError if it is too long.
    """
    document = _parse(source)
    if document is None:
        return []
    return [_spaced(text) for _element, _name, text in _words(document)]


def render(source, record, base_url, **variables):
    """Return the :class:`chatter_html.Reading` of ``source``, rendered for ``record``.

    Values are escaped, and keep their lines. What Matrix does not allow is left out.
    Raises TemplateError, and whatever the code of a computed field raises.
    """
    document = _parse(source)
    if document is None:
        return chatter_html.read("")
    values, length = [], 0
    for element, name, text in _words(document):
        written = []
        for words, value in render_pieces(_spaced(text), record, **variables):
            written.append(words)
            length += len(value)
            if value and length <= MAX_CONTENT_BYTES:
                written.append(f"{_PLACE}{len(values)}{_PLACE}")
                values.append(str(escape(value)).replace("\n", "<br>"))
        setattr(element, name, "".join(written))
    html = etree.tostring(document, encoding="unicode", method="html")
    html = _PLACES.sub(lambda place: values[int(place[1])], html)
    return chatter_html.read(html, base_url)


def _parse(source):
    source = str(source or "")
    if len(source) > chatter_html.MAX_SOURCE:
        raise TemplateError("long", f"{source[:40]}…")
    if not source.strip():
        return None
    parser = etree.HTMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True
    )
    document = etree.fromstring(without_overload(source).encode(), parser)
    if document is not None:
        _strip_places(document)
    return document


def _strip_places(document):
    """Remove what looks like a place from the texts and attributes: it may also be
    written as a reference, such as ``&#xE000;``."""
    for element in document.iter():
        for name in ("text", "tail"):
            if _PLACE in (getattr(element, name) or ""):
                setattr(element, name, getattr(element, name).replace(_PLACE, ""))
        for name, value in element.attrib.items():
            if _PLACE in value:
                element.set(name, value.replace(_PLACE, ""))


def _words(document):
    """Return (element, attribute, text) of each text, in the order of reading."""
    found = []
    for event, element in etree.iterwalk(document, events=("start", "end")):
        name = "text" if event == "start" else "tail"
        text = getattr(element, name)
        if text:
            found.append((element, name, text))
    return found


def _spaced(text):
    """Return ``text`` with the blanks that expressions need: editors write others."""
    return text.replace("\N{NO-BREAK SPACE}", " ") if "{{" in text else text
