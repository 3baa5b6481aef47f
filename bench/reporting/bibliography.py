"""The papers of a run's methods as BibTeX, from what their plugins declare; `bench` cites itself, too."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from string import ascii_lowercase
from typing import TYPE_CHECKING

from bench.core.canonical import JSON
from bench.reporting.tables.method_table import grouped
from bench.results.protocol import took_part

if TYPE_CHECKING:
    import pandas as pd

PAPER = re.compile(
    r"(?P<authors>[^:]+): (?P<title>.+), (?P<venue>[^,]+?)(?: (?P<year>(?:19|20)\d\d))?, (?P<url>https?://\S+)"
)
"""How a plugin declares its paper: `A. Author, B. Author: Title, Venue 2021, https://...`."""
ARXIV = re.compile(r"https?://arxiv\.org/abs/(\d{4}\.\d{4,5})")
JOURNAL = re.compile(r"\b(journal|transactions|trans\.|letters|jmlr|tmlr)\b", re.IGNORECASE)
ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u ", "\u0307": ".",
           "\u0308": '"', "\u030a": "r ", "\u030b": "H ", "\u030c": "v ", "\u0327": "c ", "\u0328": "k "}  # fmt: skip
LETTERS = {"ß": r"{\ss}", "ø": r"{\o}", "Ø": r"{\O}", "ł": r"{\l}", "Ł": r"{\L}", "æ": r"{\ae}", "œ": r"{\oe}",
           "ı": r"{\i}", "–": "--", "—": "---", "’": "'"}  # fmt: skip
ESCAPED = {**{c: f"\\{c}" for c in "&%$#_"}, "\\": r"{\textbackslash}", "~": r"{\textasciitilde}", "{": "(", "}": ")"}


def bibtex(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> str:
    """Return an entry for each paper that a component which took part declares, and one for `bench`."""
    papers = grouped(
        (paper, name)
        for kind, names in took_part(frame, run).items()
        for name in sorted(names)
        if (paper := str(run["components"][kind][name]["attributes"].get("paper") or "").strip())
    )
    taken: set[str] = {"bench"}
    entries = [_entry(paper, names, taken) for paper, names in papers.items()]
    return "\n".join([*entries, _own(run)])


def _own(run: Mapping[str, JSON]) -> str:
    version = (run.get("libraries") or {}).get("fingerprint-bench")
    fields = {
        "author": "{bench contributors}",
        "title": "{bench: a plugin-based benchmark for model fingerprinting}",
        "note": f"version {escaped(str(version))}" if version else "",
    }
    return _written("misc", "bench", fields, [])


def _entry(paper: str, names: list[str], taken: set[str]) -> str:
    found = PAPER.fullmatch(paper)
    if not found:
        return _written("misc", _key(names[0], taken), {"note": escaped(paper)}, names)
    authors, year, url, venue = (found[part] or "" for part in ("authors", "year", "url", "venue"))
    arxiv = ARXIV.fullmatch(url)
    kind, place = ("article", "journal") if JOURNAL.search(venue) else ("inproceedings", "booktitle")
    if venue.lower() in ("arxiv", "preprint", "arxiv preprint"):
        kind, place = "misc", "howpublished"
    fields = {
        "author": " and ".join(map(_author, authors.split(", "))),
        "title": f"{{{escaped(found['title'])}}}",
        place: escaped(venue),
        "year": year,
        "url": url.replace("{", "%7B").replace("}", "%7D"),
        **({"eprint": arxiv[1], "archiveprefix": "arXiv"} if arxiv else {}),
    }
    surname = _surname(authors.split(", ")[0])
    return _written(kind, _key(f"{surname}{year}", taken), fields, names)


def _surname(author: str) -> str:
    """Return what follows the initials of an author, or else the last word."""
    return re.sub(r"^(?:\S+\.[- ]?)+", "", author).strip() or author.split()[-1]


def _author(author: str) -> str:
    surname = _surname(author)
    first = author.removesuffix(surname).strip()
    return f"{escaped(surname)}, {escaped(first)}" if first else escaped(author)


def _key(text: str, taken: set[str]) -> str:
    """Return a key of ASCII letters and digits that no other entry has."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    key = re.sub(r"[^a-z0-9_]+", "", plain.lower()) or "paper"
    key = next(k for k in _candidates(key) if k not in taken)
    taken.add(key)
    return key


def _candidates(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key}{letter}" for letter in ascii_lowercase)
    number = 1
    while True:
        yield f"{key}-{(number := number + 1)}"


def escaped(text: str) -> str:
    """Return text for a field of BibTeX: accents as LaTeX writes them, nothing that would be a command."""
    parts = []
    for character in text:
        base, *marks = list(unicodedata.normalize("NFD", character))
        accent = ACCENTS.get(marks[0]) if len(marks) == 1 and base.isascii() else None
        if accent:
            parts.append(f"{{\\{accent}{base}}}")
        else:
            parts.append(
                LETTERS.get(character) or ESCAPED.get(character) or (character if character.isascii() else "?")
            )
    return "".join(parts)


def _written(kind: str, key: str, fields: Mapping[str, str], names: list[str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    cited = [f"The paper of {re.sub(r'[^A-Za-z0-9_, -]', '?', ', '.join(names))}:"] if names else []
    return "\n".join([*cited, f"@{kind}{{{key},", *lines, "}", ""])
