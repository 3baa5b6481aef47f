"""The note of a row: what the tables read in it stays, however much a plugin notes."""

import pytest

from bench.analysis.groups import _warning
from bench.core.kinds import Status
from bench.core.tasks import Outcome, Trial
from bench.results.rows import row
from bench.results.writer import MOST_WRITTEN, clean

TRIAL = Trial("digits", "vgg", 0, "sac", 1, None, "stolen", "tune", 1, "", "digits", "net", 0)


def note(method=(), suspect=(), source=()):
    score, theft, trained = (Outcome("k", Status.DONE, facts={"notes": dict(n)}) for n in (method, suspect, source))
    return row(TRIAL, score, trained, theft)["note"]


@pytest.mark.parametrize("where", ["method", "suspect"])
def test_a_long_note_of_a_plugin_is_cut_and_no_mark_of_the_host(where):
    long = {"aaa": "x" * 10_000, "suspect.b": 1.5, "zzz": "y" * 10_000}
    marks = {"method": {"warning": "few points"}, "suspect": {"renumbered": 0.9125, "restarted": 1, "majority": 0.8}}
    found = note(**{**marks, where: long | marks[where]}, source={"renumbered": 0.875, "majority": 0.9, "other": "z"})
    assert clean(found) == found and len(found) == MOST_WRITTEN
    entries = found.split(";")
    assert {"source.renumbered=0.875", "suspect.renumbered=0.9125", "suspect.restarted=1"} <= {*entries}
    assert {"source.majority=0.9", "suspect.majority=0.8"} <= {*entries} and "source.other=z" not in entries
    assert _warning(found) == "few points"
    assert sum(e.endswith("x…") for e in entries) == 1


def test_a_long_warning_is_cut_itself():
    found = note({"warning": "w" * 10_000, "a": 1}, {"renumbered": 0.9})
    assert found.startswith("suspect.renumbered=0.9;warning=www") and found.endswith("w…")
    assert len(found) == MOST_WRITTEN


def test_notes_that_fit_are_written_in_full_by_name():
    values = {"b": 0.123456789, "a": "x;y=z", "warning": "few", "c": "d" * 430, "e": ""}
    assert note(values, {"restarted": 1}) == f"a=x,y:z;b=0.123457;c={'d' * 430};e=;suspect.restarted=1;warning=few"


def test_names_alone_fill_no_row():
    found = note({"n" * 600: 1, "m" * 300: "v" * 300, "k" * 300: 2, "warning": "few"})
    assert [e[:9] for e in found.split(";")] == ["k" * 9, "warning=f"]
