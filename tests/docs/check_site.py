#!/usr/bin/env python3
"""The built site: what a page or a menu leads to is there, every page of the book is in a menu, and shows its pictures.

Followed are the relative links (href, src, data) of all pages with their fragments, and those in the scripts of the menu,
of the tree beside the pages and of the search. Other sites' addresses are not asked for.

usage: check_site.py SOURCE_FOLDER HTML_FOLDER
"""
import glob
import os
import re
import sys
import tempfile
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and what in it can be linked to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif name in ("href", "src") or (name == "data" and tag == "object"):
                self.links.append((self.getpos()[0], value or ""))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def script_links(text):
    """The strings in Doxygen's scripts that are addresses: page.html or page.html#anchor."""
    for match in re.finditer(r"""["']([^"'\s<>]+\.html(?:#[^"'\s]*)?)["']""", text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1)


def site(html):
    """{path: Page} of all pages, and [(path, line, address)] of all links."""
    pages, links = {}, []
    for folder, folders, names in os.walk(html):
        folders[:] = [name for name in folders if name != "mathjax"]  # another project's files, copied as they are
        for path in (os.path.join(folder, name) for name in names):
            if path.endswith(".html"):
                pages[path] = Page(read(path))
                links += [(path, line, address) for line, address in pages[path].links]
            elif path.endswith(".js"):
                links += [(path, line, address) for line, address in script_links(read(path))]
    return pages, links


def dead_links(html, pages, links):
    for source, line, address in links:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        to = source
        if parts.path:
            to = os.path.normpath(os.path.join(os.path.dirname(source), unquote(parts.path)))
        where = f"{os.path.relpath(source, html)}:{line}: {address}"
        if not os.path.isfile(to):
            yield f"{where} leads nowhere"
        elif parts.fragment and to in pages and unquote(parts.fragment) not in pages[to].anchors:
            yield f"{where}: there is no such anchor"


def book(source):
    """[(page of Markdown, its page in the site)]; the names are those that docs/doxygen.awk gives."""
    found = glob.glob(os.path.join(glob.escape(source), "docs", "*.md"))
    found += [os.path.join(source, name) for name in ("CONTRIBUTING.md", "kernels/README.md")]
    for path in sorted(found):
        name = os.path.relpath(path, source)
        label = "page_" + name[: -len(".md")].replace("/", "_")
        yield path, "index.html" if name == "docs/index.md" else label + ".html"


def missing_in_book(source, html, pages):
    menu = {address for _, address in script_links(read(os.path.join(html, "menudata.js")))}
    for path, name in book(source):
        page = pages.get(os.path.join(html, name))
        if page is None:
            yield f"{path} is not in the site, as {name}"
            continue
        if name not in menu:
            yield f"{name} is in no menu; docs/theme/layout.xml has them"
        shown = {os.path.basename(address) for _, address in page.links}
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", read(path)):
            if os.path.basename(picture) not in shown:
                yield f"{name} does not show {picture}"


def complaints(source, html):
    pages, links = site(html)
    return len(links), [*dead_links(html, pages, links), *missing_in_book(source, html, pages)]


def selftest():
    """Each kind of fault is found in a site that has it."""
    files = {
        "source/docs/index.md": "![a](figures/a.svg)",
        "source/docs/forgotten.md": "",
        "source/CONTRIBUTING.md": "",
        "source/kernels/README.md": "![b](../docs/figures/b.svg)",
        "html/index.html": '<a id="here"></a><a href="#here">1</a><a href="#gone">2</a><a href="gone.md">3</a><img src="a.svg"/>',
        "html/page_CONTRIBUTING.html": '<a href="index.html#here">1</a><a href="index.html#nowhere">2</a>',
        "html/page_kernels_README.html": '<a href="https://example.org/#x">1</a>',
        "html/a.svg": "",
        "html/menudata.js": "{url:'index.html'},{url:\"page_kernels_README.html\"},{url:'pages.html'}",
    }
    with tempfile.TemporaryDirectory() as work:
        for name, text in files.items():
            path = os.path.join(work, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        count, found = complaints(os.path.join(work, "source"), os.path.join(work, "html"))
    wanted = ["index.html:1: #gone: there is no such anchor", "index.html:1: gone.md leads nowhere",
              "page_CONTRIBUTING.html:1: index.html#nowhere: there is no such anchor", "menudata.js:1: pages.html leads nowhere",
              "page_CONTRIBUTING.html is in no menu; docs/theme/layout.xml has them",
              f"{work}/source/docs/forgotten.md is not in the site, as page_docs_forgotten.html",
              "page_kernels_README.html does not show ../docs/figures/b.svg"]
    assert count == 10 and sorted(found) == sorted(wanted), (count, found)


def main():
    selftest()
    source, html = (os.path.abspath(folder) for folder in sys.argv[1:3])
    if not os.path.isdir(html):
        sys.exit("site: Doxygen was not found, so there is none")
    count, found = complaints(source, html)
    print("\n".join(f"site: {complaint}" for complaint in found))
    print(f"site: {count} links, {len(found)} faults")
    sys.exit(1 if found or count < 1000 else 0)


if __name__ == "__main__":
    main()
