"""`bench check` finds the fault of every broken plugin, and none of them spoils a run of the others."""

import csv
import functools
import os
import re
import subprocess
import sys

import pytest
from broken_plugins import ARCHITECTURE, ATTACK, BROKEN, DATASET, METHOD, USABLE
from processes import TIMINGS
from toy_runs import here

from bench.core.errors import BenchError
from bench.registry.discovery import load_registry
from bench.testing import toy_plugins

SOUND = {"sound_method": METHOD, "sound_attack": ATTACK, "sound_architecture": ARCHITECTURE, "sound_dataset": DATASET}
DEADLY = ("sleeps_at_import", "sleeps", "ends_the_process")
LIMIT = 300
"""Seconds that one command may take."""
LINE = re.compile(r"^(\S+): FAILED  (.*)$")


def bench(place, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "BENCH_STORE": str(place / "store"), **environment},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def written(place, names):
    texts = {n: SOUND[n].replace('"NAME"', f'"{n}"') if n in SOUND else BROKEN[n].text(n) for n in names}
    for name, text in texts.items():
        (place / f"{name}.py").write_text(text)
    return [f"{name}.py" for name in texts]


def findings(done):
    """Return what was found broken: for each component or file, the lines."""
    found = {}
    for line in done.stdout.splitlines()[:-1]:
        name, told = LINE.fullmatch(line).groups()
        found.setdefault(name.removesuffix(".py"), []).append(told)
    return found


HARMLESS = [n for n in BROKEN if n not in DEADLY]
GROUPS = [(*HARMLESS[i::8], list(SOUND)[i % len(SOUND)]) for i in range(8)]
"""Plugins that are checked one after the other in one process, which they do not end; a sound one comes last."""


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Return a function that checks the group of a plugin, once, and returns the lines of that plugin."""

    @functools.cache
    def group(names):
        place = tmp_path_factory.mktemp("checked")
        done = bench(place, "check", "--quiet", *written(place, names))
        assert done.returncode == 1
        assert done.stderr == ""
        return findings(done)

    return lambda name: [group(names).get(name, []) for names in GROUPS if name in names]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if any(n in g for g in GROUPS[1:]) else []) for n in HARMLESS]
)
def test_the_fault_is_named(checked, name):
    (lines,) = checked(name)
    named(lines, name)


def named(lines, name):
    broken = BROKEN[name]
    pattern = re.compile(f"{broken.check}: (Plugin .* is broken: )?(.*)")
    told = [m[2] for m in map(pattern.fullmatch, lines) if m]
    assert len(told) == 1, lines
    assert re.search(broken.reason, told[0]), told[0]
    assert len(told[0]) < 400
    assert broken.check != USABLE or len(lines) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
def test_the_same_plugin_without_the_fault_is_sound(checked, name):
    assert checked(name) == [[], []]


def test_there_are_enough_of_them():
    assert len(BROKEN) >= 60
    for sound in SOUND.values():
        assert sum(b.sound is sound for b in BROKEN.values()) >= 4


@pytest.mark.slow
def test_what_kills_or_stops_its_process_is_named_and_the_others_are_checked(tmp_path):
    files = written(tmp_path, [*DEADLY, "sound_method"])
    done = bench(tmp_path, "check", *files, "--timeout", "15")
    assert done.returncode == 1
    for name in DEADLY:
        section = re.search(rf"^{name}(?:\.py)? \(.*?(?=^\S)", done.stdout, re.MULTILINE | re.DOTALL)[0]
        lines = re.findall(r"^  FAILED  (.*)$", section, re.MULTILINE)
        named(lines, name)
        assert "  -       " in section or name == "sleeps_at_import"
        assert "its process ended before" in section or name == "sleeps_at_import"
    assert "FAILED" not in done.stdout.split("sound_method (")[1]


# --- in a run -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loadable(tmp_path_factory):
    """Which of the broken plugins a run takes, and what it says of the others."""
    place = tmp_path_factory.mktemp("loadable")
    good, refused = [], {}
    for name in HARMLESS:
        (file,) = written(place, [name])
        try:
            load_registry([place / file], ())
            good.append(name)
        except BenchError as error:
            refused[name] = str(error)
    return [n for n in good if n not in ("name_of_another", "hook_gives_nothing")], refused


def rows(place, out):
    with (place / out / "trials.csv").open(newline="") as file:
        return [{k: v for k, v in r.items() if k not in TIMINGS} for r in csv.DictReader(file)]


RUN = (
    "--plugin",
    toy_plugins.__file__,
    "--no-baselines",
    "--preset",
    "smoke",
    "--replicates",
    "1",
    "--copies",
    "1",
    "--set",
    "recipe.epochs=1",
    "--sources",
    "toy_net",
    "--workers",
    "0",
)
HEALTHY = {
    "--datasets": ("toy",),
    "--suspects": ("toy_net",),
    "--attacks": ("toy_tune", "toy_copy"),
    "--methods": ("toy_match",),
}


def words(out, **added):
    options = {o: ",".join((*added.get(o[2:], ()), *names)) for o, names in HEALTHY.items()}
    return ["run", *RUN, *(x for pair in options.items() for x in pair), "--out", out]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The rows without any broken plugin around: named before `loadable`, which loads them in this process."""
    place = tmp_path_factory.mktemp("alone")
    done = here([*words(place / "alone"), "--store", place / "store"])
    assert done.code == 0, done.err
    return rows(place, "alone")


@pytest.mark.slow
def test_none_of_them_spoils_a_run_of_the_others(alone, loadable, tmp_path):
    """Healthy rows are, to the bit, what they are without any broken plugin around."""
    names, refused = loadable
    written(tmp_path, names)
    assert all("is broken: " in text and "\n" not in text for text in refused.values())
    kinds = {METHOD: "methods", ATTACK: "attacks", DATASET: "datasets", ARCHITECTURE: "suspects"}
    added = {
        kind: [n for n in names if BROKEN[n].sound is text and n not in ("starts_from_nothing",)]
        for text, kind in kinds.items()
    }
    assert all(len(them) >= 4 for them in added.values())
    plugins = [x for n in names for x in ("--plugin", f"{n}.py")]
    done = bench(tmp_path, *words("among", **added), *plugins)
    assert done.returncode == 1, done.stderr
    among = [
        r
        for r in rows(tmp_path, "among")
        if r["dataset"] == "toy"
        and r["method"] == "toy_match"
        and r["suspect_architecture"] == "toy_net"
        and r["attack"] in ("", "toy_tune", "toy_copy")
    ]
    assert among == alone


def test_installed_ones_that_cannot_be_used_are_left_out_with_a_note(alone, loadable, tmp_path):
    """As distributions beside bench, which are found whether or not anybody asks for them."""
    _, refused = loadable
    written(tmp_path, refused)
    for name in refused:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[bench]\n{name} = {name}\n")
    done = bench(tmp_path, *words("among"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path, "among") == alone
    for name in refused:
        assert f"Note: plugin {name} of {name.replace('_', '-')} 1.0 is broken and left out: " in done.stderr
