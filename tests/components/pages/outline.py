"""A page → what it is made of, as a browser would see it."""

from html.parser import HTMLParser

VOID = {"br", "img", "meta", "wbr"}
WITHIN_WORDS = {"bdi", "i", "wbr"}


class Outline(HTMLParser):
    """Tags, ids, links and text of a page; complains where a tag is closed that is not open.

    names: the text of each `bdi`, which holds a name from outside.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.names: list[str] = []
        self.text = ""
        self._sections: dict[str, str] = {}
        self._section = ""
        self.feed(page)

    @property
    def sections(self) -> list[str]:
        """The names of all sections; the text outside of them is that of the section ``."""
        return list(self._sections)

    def section(self, name: str) -> str:
        """The text of the section that is labelled by the id `name`, its words one blank apart."""
        return " ".join(self._sections[name].split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag == "section":
            self._section = dict(attrs)["aria-labelledby"]
        if tag == "bdi":
            self.names.append("")
        if tag not in WITHIN_WORDS:
            self._say(" ")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag not in WITHIN_WORDS:
            self._say(" ")
        if tag == "section":
            self._section = ""

    def handle_data(self, data):
        self.text += data
        if "bdi" in self.open:
            self.names[-1] += data
        self._say(data)

    def _say(self, text):
        self._sections[self._section] = self._sections.get(self._section, "") + text
