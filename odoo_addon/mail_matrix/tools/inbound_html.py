"""HTML that somebody wrote in a room, in the form in which the chatter may show it."""

from lxml import etree, html
from markupsafe import Markup

from odoo.tools import html_sanitize

from .html_tags import without_overload

# Among the others, a class or a style could cover the page, and data attributes could
# call the chatter's scripts. Every reader's browser would load a picture's address.
_KEPT = {"a": {"href"}, "ol": {"start"}, "td": {"colspan", "rowspan"}}
# Clients repeat the message that is answered.
_GONE = ("mx-reply", "img", "svg", "picture", "video", "audio", "iframe")
_SCHEMES = ("https://", "http://", "mailto:")


def safe(source):
    """Return ``source`` as Markup for the chatter, or nothing if that is not possible.

    Odoo's sanitizer decides what is allowed at all; we keep less than that.
    """
    try:
        source = without_overload(source)
        root = html.fragment_fromstring(source, create_parent="div")
        _drop(root)
        clean = html_sanitize(
            html.tostring(root, encoding="unicode"),
            silent=False,
            sanitize_attributes=True,
            strip_style=True,
            strip_classes=True,
        )
        root = html.fragment_fromstring(str(clean), create_parent="div")
        _drop(root)
    except (etree.LxmlError, ValueError, RecursionError):
        return None
    for element in root.iter(etree.Element):
        _strip(element)
    if not root.text_content().strip():
        return None
    inner = [Markup.escape(root.text or "")]
    # Written by lxml, from what the sanitizer let through.
    inner += [Markup(html.tostring(child, encoding="unicode")) for child in root]  # nosec
    return Markup("").join(inner)


def _drop(root):
    for element in list(root.iter(*_GONE)):
        element.drop_tree()


def _strip(element):
    kept = _KEPT.get(element.tag, ())
    for name in list(element.attrib):
        if name not in kept:
            del element.attrib[name]
    address = element.get("href")
    if address is not None and not address.strip().lower().startswith(_SCHEMES):
        del element.attrib["href"]
    if element.get("href"):
        element.set("rel", "noreferrer noopener")
        element.set("target", "_blank")
