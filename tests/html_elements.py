"""Read a page of HTML: its elements, and whether each is closed."""

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "wbr", "img", "hr", "path", "rect", "circle"}


class Elements(HTMLParser):
    """Reads a page: its elements with their attributes, and the text in each; an unclosed element is an error."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])
        if tag not in VOID:
            self.open.append((tag, self.found[-1]))

    def handle_startendtag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}>"
        self.open.pop()

    def handle_data(self, data):
        for _, element in self.open:
            element[2] += data

    def all(self, tag, **attributes):
        wanted = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items()}
        return [e for e in self.found if e[0] == tag and wanted.items() <= e[1].items()]
