"""The tree that tools.chatter_html makes, as plain text."""

BLOCKS = {
    *("p", "div", "ul", "ol", "li", "blockquote", "pre", "hr", "table", "caption"),
    *("thead", "tbody", "tr", "h1", "h2", "h3", "h4", "h5", "h6"),
}
# Marks links that name somebody or something in Odoo: the name is enough there.
NAME = "data-name"
_CELLS = ("td", "th")


def to_text(tree):
    """Return ``tree`` as text: one line for each paragraph, list item and row."""
    writer = _Writer()
    writer.element(tree)
    writer.end_line()
    lines = writer.lines
    kept = [
        line
        for index, line in enumerate(lines)
        if line.strip() or (index and lines[index - 1].strip())
    ]
    return "\n".join(kept).strip("\n")


class _Writer:
    """Writes line by line. Recursive: the tree's depth is bounded."""

    def __init__(self):
        self.lines = []
        self.line = ""
        self.margin = ""  # what each line of the open lists and quotes begins with
        self.mark = None  # what the next line begins with instead
        self.cells = 0

    def element(self, element):
        write = getattr(self, f"_{element.tag}", None)
        is_block = element.tag in BLOCKS
        if is_block:
            self.end_line()
        if write:
            write(element)
        else:
            self.inside(element)
        if is_block:
            self.end_line()

    def inside(self, element):
        self.text(element.text)
        for child in element:
            self.element(child)
            self.text(child.tail)

    def text(self, text):
        if not text:
            return
        if not self.line and not text.strip():
            return
        self.line += text

    def end_line(self):
        if self.cells:
            if self.line and not self.line.endswith(" "):
                self.line += " "
        elif self.line.strip():
            self.break_line()
        else:
            self.line = ""

    def break_line(self):
        margin = self.margin if self.mark is None else self.mark
        self.lines.append((margin + self.line).rstrip())
        self.line, self.mark = "", None

    def _br(self, _element):
        if self.cells:
            self.end_line()
        else:
            self.break_line()

    def _hr(self, _element):
        self.text("———")

    def _pre(self, element):
        if self.cells:
            self.inside(element)
            return
        text = "".join(element.itertext()).strip("\n")
        for line in text.split("\n"):
            self.line = line
            self.break_line()

    def _a(self, element):
        begin = len(self.line)
        self.inside(element)
        words, url = self.line[begin:].strip(), element.get("href")
        if element.get(NAME) or not words or url.startswith("mailto:"):
            return
        if words.rstrip("/") not in url.rstrip("/"):
            self.line += f" ({url})"

    def _blockquote(self, element):
        self._with_margin("> ", element)

    def _with_margin(self, margin, element):
        before, self.margin = self.margin, self.margin + margin
        self.inside(element)
        self.end_line()
        self.margin = before

    def _ul(self, element):
        self._items(element, lambda _number: "• ")

    def _ol(self, element):
        first = int(element.get("start") or 1)
        self._items(element, lambda number: f"{first + number}. ")

    def _items(self, element, mark_of):
        number = 0
        self.text(element.text)
        for child in element:
            if child.tag == "li":
                self.end_line()
                mark = mark_of(number)
                number += 1
                self.mark = self.margin + mark
                self._with_margin(" " * len(mark), child)
                self.mark = None
            else:
                self.element(child)
            self.text(child.tail)

    def _tr(self, element):
        cells = [child for child in element if child.tag in _CELLS]
        if any(_holds_blocks(cell) for cell in cells):
            for cell in cells:
                self.inside(cell)
                self.end_line()
            return
        self.cells += 1
        for index, cell in enumerate(cells):
            if index:
                self.line = self.line.rstrip() + " | "
            self.inside(cell)
        self.cells -= 1


def _holds_blocks(cell):
    paragraphs = 0
    for element in cell.iterdescendants():
        paragraphs += element.tag in ("p", "div")
        if element.tag in ("ul", "ol", "table", "pre", "blockquote") or paragraphs > 1:
            return True
    return False
