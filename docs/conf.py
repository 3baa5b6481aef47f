"""Sphinx builds the documents from here: `tox -e docs`, with warnings as errors.

The source folder is the checkout itself, so README.md, DESIGN.md and the pages in docs/ are one web of links, and each
link leads to the same place in the built pages as on a forge that shows Markdown.
"""

import re

project = "bench"
author = "bench contributors"
copyright = author  # the name is Sphinx's
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/*.rst",
    "results/**.md",
    "tests/outsider/*.md",
    "examples/**.md",
    "benchmarks/**.md",
]
exclude_patterns = [".*", "**/.*", "bench", "plugins", "build", "dist", "**/*.egg-info"]
html_theme = "alabaster"
html_theme_options = {"description": "A plugin-based benchmark for model fingerprinting", "page_width": "1100px"}
html_show_sourcelink = False

# Headings are anchors as on GitHub, at every depth.
myst_heading_anchors = 4


def navigation(app, name, source):
    """Make the index's links the navigation, section by section; other pages are reached by links."""
    if name == app.config.root_doc:
        for title, text in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", source[0], re.MULTILINE | re.DOTALL):
            pages = dict.fromkeys(re.findall(r"\]\(([\w./-]+\.(?:md|rst))\)", text))
            source[0] += "\n".join(["\n```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```\n"])
    elif "/" in name and not name.startswith("docs/"):
        source[0] = f"---\norphan: true\n---\n\n{source[0]}"


def setup(app):
    """Register the function above with Sphinx."""
    app.connect("source-read", navigation)
