"""What the pages of a built site would load from the network; there must be nothing.   python docs/offline.py site"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

# Attributes whose address a browser fetches without being asked; links of <a> are followed by a reader only.
LOADING = {
    "script": ("src",), "img": ("src", "srcset"), "source": ("src", "srcset"), "iframe": ("src",),
    "video": ("src", "poster"), "audio": ("src",), "embed": ("src",), "object": ("data",), "link": ("href",),
    "image": ("href", "xlink:href"), "use": ("href", "xlink:href"),
}  # fmt: skip
NOT_LOADED = {"canonical", "alternate", "author", "license", "prev", "next"}  # kinds of <link>
REMOTE = re.compile(r"(?:https?:)?//\S+")
IN_STYLES = re.compile(r"(?:url\(|@import)\s*['\"]?\s*((?:https?:)?//[^'\")\s]+)")


class Page(HTMLParser):
    """Collects the remote addresses that a page loads in `remote`."""

    def __init__(self, text):
        super().__init__()
        self.remote = IN_STYLES.findall(text)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        if tag == "link" and set(given.get("rel", "").split()) <= NOT_LOADED:
            return
        for name in LOADING.get(tag, ()):
            value = given.get(name, "")
            addresses = value.split(",") if name == "srcset" else [value]
            self.remote += [match[0] for address in addresses if (match := REMOTE.match(address.strip()))]


def remote(site):
    """(file, address) of everything that the HTML, SVG and CSS files below `site` would load from the network."""
    found = []
    for path in sorted(Path(site).rglob("*")):
        if path.suffix in (".html", ".svg"):
            found += [(path, address) for address in Page(path.read_text(encoding="utf-8")).remote]
        elif path.suffix == ".css":
            found += [(path, address) for address in IN_STYLES.findall(path.read_text(encoding="utf-8"))]
    return found


if __name__ == "__main__":
    for path, address in (loaded := remote(sys.argv[1])):
        print(f"{path}: loads {address}")
    pages = len(list(Path(sys.argv[1]).rglob("*.html")))
    print(f"{pages} pages, {len(loaded)} remote resources")
    sys.exit(1 if loaded or not pages else 0)
