"""The documents say what the code does: everything is described, every link leads somewhere, every example runs."""

import ast
import csv
import doctest
import importlib
import json
import re
import runpy
import shlex
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import click
import matplotlib
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

import bench
from bench import __version__
from bench.api import context, hookspecs
from bench.api.components import BASES
from bench.api.context import Context
from bench.cli import COMMANDS
from bench.core.kinds import TaskKind
from bench.core.spec import Recipe
from bench.planning.options import build
from bench.planning.planner import Plan, plan
from bench.planning.presets import PRESETS
from bench.registry.discovery import load_registry
from bench.registry.registry import HOOKS
from bench.registry.validation import REQUIRED
from bench.stats.differences import difference_over_sources

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "results/README.md"])
GUIDES = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/writing-*.md"))
"""How to write each kind of plugin."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(name: str, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(read(name)) if kind == language]


def commands() -> dict[str, click.Command]:
    """Every command by its full name, `data fetch` included."""
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = importlib.import_module(f"bench.cli.commands.{name}").command
        found[name] = command
        for inner, sub in getattr(command, "commands", {}).items():
            found[f"{name} {inner}"] = sub
    return found


def options(command: click.Command) -> set[str]:
    return {o for p in command.params if isinstance(p, click.Option) for o in p.opts} | {"--help", "-h"}


# --- everything is described --------------------------------------------------------------------------------------


def test_every_hook_is_documented():
    assert set(HOOKS) == {n for n in vars(hookspecs) if n.startswith("bench_")}
    for hook in HOOKS:
        assert f"`{hook}`" in read("docs/writing-a-plugin.md"), hook
        page = {"bench_architectures": "architecture", "bench_attacks": "attack"}.get(hook, hook[6:-1])
        (guide,) = (g for g in GUIDES if g.endswith(f"-{page}.md"))
        assert f"`{hook}`" in read(guide), hook


def test_every_declaration_is_documented_with_its_default():
    page = "".join(map(read, GUIDES))
    for base in BASES:
        for name, default in base.declarations.items():
            shown = "required" if default is None else '`""`' if default == "" else f"`{default!r}`"
            assert f"| `{name}` | {shown} |" in page, f"{base.__name__}.{name}: | `{name}` | {shown} |"


def test_everything_in_the_context_is_documented():
    for name in [f.name for f in fields(Context)]:
        assert f"context.{name}" in read("docs/writing-a-plugin.md"), name


def test_every_command_and_option_is_documented():
    page = read("docs/command-line.md")
    for name, command in commands().items():
        assert f"bench {name}" in page, f"bench {name}"
        for option in options(command):
            assert re.search(rf"`{option}\b", page), f"bench {name} {option}"


def test_every_option_that_is_documented_exists():
    known = set.union(*map(options, commands().values())) | {"--version"}
    for option in re.findall(r"`(--[a-z-]+)", read("docs/command-line.md")):
        assert option in known, option


def test_an_option_of_two_commands_has_the_meaning_of_each():
    page = read("docs/command-line.md")
    assert "| `--results FOLDER` | `gc` | More results whose artifacts are kept" in page
    assert "| `--results FOLDER` | `export` | Export only the artifacts of these results; default: all" in page


def test_generated_parts_are_up_to_date(capsys):
    """Options, presets, columns, parameters and the ground plan: `python docs/generate.py` writes them."""
    main = runpy.run_path(str(ROOT / "docs/generate.py"))["main"]
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_the_ground_plan_has_every_package():
    listed = runpy.run_path(str(ROOT / "docs/generate.py"))["PACKAGES"]
    found = {p.parent.relative_to(ROOT / "bench").as_posix() for p in (ROOT / "bench").rglob("__init__.py")}
    assert sorted(listed) == sorted(found - {"."})


@pytest.mark.parametrize(
    "value, text",
    [
        (0.15, "0.15"),
        (4 / 255, "4/255"),
        (True, "true"),
        (1.0, "1"),
        (0.0005, "0.0005"),
        ("logits", "`logits`"),
        ([0.1, 0.2], "(0.1, 0.2)"),
        (0, "0"),
    ],
)
def test_a_default_is_written_as_it_is_typed(value, text):
    assert runpy.run_path(str(ROOT / "docs/generate.py"))["shown"](value) == text


def test_every_generated_part_has_a_place():
    parts = set(re.findall(r"<!-- generated: (.+) -->", "".join(p.read_text() for p in DOCUMENTS)))
    shipped = {
        d.name
        for kind in ("method", "attack")
        for d in load_registry().declarations(kind)
        if d.distribution.startswith("fingerprint-bench ")
    }
    listed = {name for part in parts if part.startswith("parameters ") for name in part.split()[1:]}
    assert listed == shipped - {"sac_m_probabilities", "ipguard_k10"}
    for command in ("run plan", "plan", "check", "report", "compare", "show", "data", "store"):
        assert f"options {command}" in parts
    for file in ("trials.csv", "table.csv", "budgets.csv", "variants.csv", "accuracy.csv", "compare"):
        assert f"columns {file}" in parts
    assert {"tree", "large", "presets"} <= parts


def test_every_shipped_component_stands_in_the_readme():
    registry = load_registry()
    shipped = {
        name
        for kind in registry.entries.values()
        for name, entry in kind.items()
        if entry.distribution.startswith("fingerprint-bench ")
    }
    section = read("README.md").split("## What is there")[1].split("\n\nChoose")[0]
    listed = set(re.findall(r"`(\w+)`", section.split("| | |")[1]))
    assert not registry.broken
    assert listed == shipped


def test_the_paper_of_every_method_and_attack_is_cited():
    pages = "".join(map(read, (f"docs/{name}.md" for name in ("ipguard", "cae", "ewe", "sac", "methods", "attacks"))))
    registry = load_registry()
    for declaration in (d for kind in ("method", "attack") for d in registry.declarations(kind)):
        link = str(declaration.attributes.get("paper") or "").rpartition(" ")[2]
        assert link in pages, f"{declaration.name}: {link}"


def test_the_functions_that_statistics_name_are_public():
    lists = re.findall(r"\(((?:`[^`]+`[,;]? ?)+)\)", read("docs/statistics.md"))
    named = {name for text in lists for name in re.findall(r"`([a-z_]+)`", text)}
    assert len(named) > 8 and named <= set(importlib.import_module("bench.metrics").__all__)


def test_the_protocol_names_the_methods_with_several_draws():
    (row,) = [line for line in read("docs/protocol.md").splitlines() if line.startswith("| fingerprint |")]
    registry, counts = load_registry(), {}
    for declared in registry.declarations("method"):
        owner = declared.attributes["fingerprint_of"] or declared.name
        counts[declared.name] = registry.get("method", owner).draws
    several = set(re.findall(r"`(\w+)`", row)) - {"draws"}
    assert several == {name for name, draws in counts.items() if draws > 1}
    assert {counts[name] for name in several} == {5} and "5 times" in row


def test_the_first_run_counts_the_components_of_the_default_preset():
    quick, words = PRESETS["quick"], {3: "three", 7: "seven", 9: "nine"}
    counts = [words[len(names)] for names in (quick.methods, quick.baselines, quick.attacks)]
    assert "`quick`: {} methods and {} baselines against {} attacks".format(*counts) in read("docs/start.md")


def test_every_field_of_the_recipe_is_documented():
    for name in [f.name for f in fields(Recipe)]:
        assert f"`recipe.{name}`" in read("docs/presets.md"), name


def planned(**chosen: object) -> Plan:
    spec, known = build(chosen, None, load_registry(), "fp32")
    return plan(spec, known)


TRAINED = ("train", "embed", "steal")


def test_the_counted_cost_of_the_presets_is_that_of_their_plans():
    for name in PRESETS:
        found = planned(preset=name)
        kinds = Counter(t.kind for t in found.tasks.values())
        counts = len(found.trials), sum(kinds[k] for k in TRAINED), kinds["fingerprint"], kinds["score"]
        line = f"| `{name}` | " + " | ".join(f"{n:,}" for n in counts) + " |"
        assert line in read("docs/cost.md"), line


@pytest.mark.parametrize(
    "chosen", [("fashion_mnist", "vgg16_bn"), ("cifar10", "vgg16_bn,resnet34")], ids=lambda c: c[0]
)
def test_the_counted_cost_of_the_gpu_runs_is_that_of_their_plans(chosen):
    half = {"fashion_mnist": 30_000, "cifar10": 25_000, "cifar10_c": 25_000, "cifar100_first10": 2_500}
    tasks = planned(preset="medium", datasets=chosen[0], sources=chosen[1]).tasks
    networks: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    for task in tasks.values():
        if task.kind in TRAINED:
            fields = task.params.get("attack", task.params.get("method", {})).get("params", {})
            length = fields.get("length", 1) + fields.get("w_length", 0)
            images = half[tasks[task.inputs["data"]].params["dataset"]["name"]]
            networks[task.params["architecture"]["name"]] += 1
            shown[task.params["architecture"]["name"]] += length * task.params["recipe"]["epochs"] * images
    section = read("docs/cost.md").split(f"| **`{chosen[0]}`")[1].split("| **")[0].split("\n\n")[0]
    assert f"** | {networks.total()} | {shown.total() / 1e6:.1f} |" in section
    for name, count in networks.items():
        assert f"| `{name}` | {count} | {shown[name] / 1e6:.1f} |" in section, name


def test_every_exit_code_is_documented():
    for page in ("README.md", "docs/command-line.md"):
        for code in (0, 1, 2, 130):
            assert re.search(rf"^\| {code} \|", read(page), re.MULTILINE), (page, code)


def test_every_dependency_is_accounted_for():
    setup = re.search(r"install_requires =\n((?: {4}.+\n)+)", read("setup.cfg"))
    assert setup is not None
    names = re.findall(r"^ +([\w-]+)", setup.group(1), re.MULTILINE)
    table = read("DESIGN.md").split("## Dependencies")[1].split("\n## ")[0]
    pins = read("constraints.txt")
    for name in names:
        assert re.search(rf"^\|.*\b{name}\b", table, re.MULTILINE), name
        assert re.search(rf"^{name}==", pins, re.MULTILINE), f"{name} is not pinned"


def test_the_design_describes_every_kind_of_task():
    described = re.findall(r"^\| `(\w+)` \|.*\|.*\|$", read("DESIGN.md").split("## What flows")[1], re.MULTILINE)
    assert described == list(TaskKind)


def test_every_decision_has_its_date():
    decisions = read("DESIGN.md").split("## Decisions")[1]
    paragraphs = [p for p in decisions.split("\n\n")[2:] if p.strip()]
    assert paragraphs
    for paragraph in paragraphs:
        assert re.match(r"\*\*\d{4}-\d\d-\d\d – .+?\.\*\* ", paragraph.strip(), re.DOTALL), paragraph[:60]


# --- nothing is described that is not there -----------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", re.sub(FENCE, "", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


def is_built(path: str) -> bool:
    """Whether Sphinx builds this document."""
    conf = runpy.run_path(str(ROOT / "docs/conf.py"))
    shapes = [re.escape(p).replace(r"\*\*", ".*").replace(r"\*", "[^/]*") for p in conf["include_patterns"]]
    return path.split("/")[0] not in conf["exclude_patterns"] and any(re.fullmatch(s, path) for s in shapes)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(FENCE, "", path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), target
        assert not anchor or anchor in anchors(place.read_text()), target
        if place.suffix == ".md":
            assert is_built(place.relative_to(ROOT).as_posix()), f"docs/conf.py leaves out {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_code_in_documents_is_whole(path):
    for language, text in FENCE.findall(path.read_text()):
        if language == "python":
            ast.parse(text)
        elif language == "toml":
            tomllib.loads(text)
        elif language == "json":
            json.loads(text)


def test_every_page_is_linked_from_the_readme_and_stands_in_the_index():
    for path in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{path.name})" in read("README.md"), path.name
        assert path.name == "index.md" or f"]({path.name})" in read("docs/index.md"), path.name


def lines_of_commands(text: str) -> Iterator[list[str]]:
    """The `bench ...` lines of a document, in fences, in indented blocks or between backquotes."""
    for line in re.findall(r"(?:^ {4}|^|&& |`)bench ([a-z][^\n`]*)", text, re.MULTILINE):
        yield shlex.split(line.split(" && ")[0], comments=True)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_documents_exist(path):
    known = commands()
    registry = load_registry()
    installed = {k: set(registry.names(k)) for k in ("dataset", "architecture", "attack", "method")}
    kinds = {
        "--datasets": "dataset",
        "--attacks": "attack",
        "--methods": "method",
        "--architectures": "architecture",
        "--sources": "architecture",
        "--suspects": "architecture",
    }
    for words in lines_of_commands(path.read_text()):
        name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        assert name in known, words
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in options(known[name]), words
        if "--plugin" in words:
            continue
        for option, kind in kinds.items():
            if option in words:
                for component in words[words.index(option) + 1].split(","):
                    example = component in ("my_idea", "my_method", "outside_method") or component.isupper()
                    assert example or component in installed[kind], words


# --- examples run -------------------------------------------------------------------------------------------------


def plugins(name: str) -> list[str]:
    return [text for text in blocks(name, "python") if "@hookimpl" in text]


def run(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    command = importlib.import_module("bench.cli.commands.run").command
    code = command.main(arguments, standalone_mode=False)
    printed = capfd.readouterr()
    assert code == 0, printed.err + printed.out
    return printed.out


def test_the_plugin_in_the_readme_gives_a_row_in_the_table(tmp_path, capfd):
    (text,) = plugins("README.md")
    assert len([line for line in text.splitlines() if line.strip()]) <= 22
    name = re.search(r'name: str = "(\w+)"', text)
    assert name is not None
    file = tmp_path / f"{name[1]}.py"
    file.write_text(text)
    out = run(
        [
            "--plugin",
            str(file),
            "--methods",
            name[1],
            "--preset",
            "smoke",
            "--attacks",
            "finetune_a",
            "--no-baselines",
            "--workers",
            "0",
            "--store",
            str(tmp_path / "store"),
            "--out",
            str(tmp_path / "out"),
        ],
        capfd,
    )
    assert re.search(rf"^{name[1]} +[01]\.\d\d", out, re.MULTILINE), out


def test_the_plugins_in_the_guides_run_together(tmp_path, capfd):
    """A dataset, an architecture, an attack, two fingerprints and a watermark, none of which knows the others."""
    texts = [text for guide in GUIDES for text in plugins(guide)]
    names: dict[str, list[str]] = {}
    arguments: list[str] = []
    for text in texts:
        name, hook = re.search(r'name: str = "(\w+)"', text), re.search(r"def (bench_\w+)", text)
        assert name and hook
        names.setdefault(hook[1], []).append(name[1])
        file = tmp_path / f"{name[1]}.py"
        file.write_text(text)
        arguments += ["--plugin", str(file)]
    assert set(names) == set(HOOKS)
    random = np.random.default_rng(0)
    (tmp_path / "flowers").mkdir()
    for part, count in (("train", 160), ("test", 80)):
        labels = np.arange(count) % 4
        images = random.integers(0, 128, (count, 3, 16, 16)) + 40 * labels[:, None, None, None]
        np.save(tmp_path / "flowers" / f"{part}-images.npy", images.clip(0, 255).astype(np.uint8))
        np.save(tmp_path / "flowers" / f"{part}-labels.npy", labels.astype(np.int64))
    out = run(
        [
            *arguments,
            "--datasets",
            *names["bench_datasets"],
            "--architectures",
            *names["bench_architectures"],
            "--attacks",
            ",".join(names["bench_attacks"]),
            "--methods",
            ",".join(names["bench_methods"]),
            "--preset",
            "smoke",
            "--no-baselines",
            "--set",
            "corner.samples=10",
            "--workers",
            "0",
            "--data",
            str(tmp_path),
            "--store",
            str(tmp_path / "store"),
            "--out",
            str(tmp_path / "out"),
        ],
        capfd,
    )
    for method in names["bench_methods"]:
        assert re.search(rf"^{method} +[01]\.\d\d", out, re.MULTILINE), out


def test_the_examples_of_the_api_run():
    found = doctest.testfile(str(ROOT / "docs/api.rst"), module_relative=False)
    assert found.attempted > 10
    assert found.failed == 0


def test_every_public_name_has_a_place_in_the_api():
    for name in bench.__all__:
        assert re.search(rf"^``bench\.{name}``$", read("docs/api.rst"), re.MULTILINE), name


def test_the_api_has_what_components_write_and_declare():
    page = read("docs/api.rst")
    for base in BASES:
        place = rf"^``bench\.{base.__name__}``\n~+\n(.*?)^(?:``bench\.|\.\. end)"
        section = re.search(place, page, re.MULTILINE | re.DOTALL)
        assert section is not None
        for name in (*base.declarations, *REQUIRED[base]):
            assert re.search(rf"^``{name}\b", section[1], re.MULTILINE), f"{base.__name__}.{name}"
    for hook in HOOKS:
        assert f"``{hook}``" in page.split("``bench.hookimpl``\n")[1].split("``bench.prepare_torchvision``\n")[0], hook
    assert "on_call: Callable[[str, str], None]=lambda check, call: None,\n" in page


def test_the_reference_shows_signatures_without_sphinx():
    """On a forge, a directive of Sphinx is bare text."""
    page = read("docs/api.rst")
    assert ".. auto" not in page
    for text in (
        "run(*, progress: bool | ProgressFunction=True, **options: Unpack[RunOptions]) -> Results",
        "``load(root: Path, train: bool) -> Split``",
        "    suspect_architectures: tuple[str, ...]\n",
        "tpr_at_fpr(",
        "``cells``\n   The estimates",
    ):
        assert text in page, text


def test_what_plugins_import_is_public():
    for text in (*plugins("README.md"), *(text for guide in GUIDES for text in plugins(guide))):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("bench"):
                assert node.module in ("bench", "bench.stats.intervals"), node.module
    for name in context.__dict__:
        if name in ("Reported", "ReportedAccuracy", "Download"):
            assert f"bench.{name}" in "".join(map(read, GUIDES))


def test_the_version_is_the_one_that_the_changelog_and_the_citation_name():
    released = re.findall(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", read("CHANGELOG.md"), re.MULTILINE)
    assert released[0][0] == __version__
    assert f"\nversion: {__version__}\ndate-released: {released[0][1]}\n" in read("CITATION.cff")
    assert read("CHANGELOG.md").index("## Unreleased") < read("CHANGELOG.md").index(f"## {__version__} ")


def rows_of(text):
    """Read a Markdown table: by row and column, what stands there."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


@pytest.mark.parametrize("name", ["noisy_digits", "cifar10-cpu"])
def test_the_tables_of_readme_are_those_of_the_published_runs(name):
    published = read(f"results/{name}/table.md").split("\n## ")[1].split("\n\nEach AUC")[0]
    _, after = read("README.md").split(f"(results/{name}/table.md)")
    shown = rows_of("| method |" + after.split("| method |", 1)[1].split("\n\n")[0])
    wanted = rows_of(published.replace("paper, other networks: ", "paper "))
    assert list(shown) == list(wanted)
    for method, cells in shown.items():
        assert cells == {column: wanted[method][column] for column in cells}


# --- figures of results folders -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures():
    """The generators of parts that are made from a results folder, by name."""
    return runpy.run_path(str(ROOT / "docs/generate.py"))["GENERATORS"]


def test_a_card_has_the_figures_of_the_report(figures):
    found = figures["card"]("", "results/noisy_digits", "sac_m", "extract_l", "prune")
    with (ROOT / "results/noisy_digits/table.csv").open(newline="") as lines:
        cells = {r["attack"]: r for r in csv.DictReader(lines) if r["method"] == "sac_m"}
    for attack in ("extract_l", "prune"):
        auc, low, high = (f"{float(cells[attack][name]):.2f}" for name in ("auc", "low", "high"))
        line = next(line for line in found.splitlines() if f"`{attack}`" in line)
        assert f"| {auc} [{low}, {high}] |" in line and f"| {cells[attack]['sources']} |" in line
    assert f"| *mean over 6 attacks* | {float(cells['']['auc']):.2f} |" in found
    assert "20 sources" in found and "2 cores of AMD EPYC" in found and "`bench report results/noisy_digits`" in found


def test_a_figure_of_the_paper_stands_beside_ours_and_is_outside_where_no_interval_reaches_it(figures):
    found = figures["card"]("", "results/noisy_digits", "ipguard", "prune", "extract_l", "extract_p", "transfer_a")
    with (ROOT / "results/noisy_digits/run.json").open() as file:
        reported = json.load(file)["components"]["method"]["ipguard"]["attributes"]["reported"]
    for attack in ("prune", "extract_l", "extract_p"):
        text = ", ".join(f"{r['auc']:.2f}" for r in reported if r["attack"] == attack)
        assert f" {text}" in found and len(text) == 16, attack
    assert "1.00, 1.00, 1.00 |" in found and "0.57, 0.80, 0.66 *outside* |" in found
    assert "–, –, – |" in found and "paper" not in figures["card"]("", "results/noisy_digits", "ewe", "prune")


def test_costs_are_those_of_the_report(figures):
    found = figures["method_costs"]("", "results/noisy_digits")
    assert re.search(r"^\| `cae` \| labels \| 100 \| 0\.00929 \| 12\.7 \| 4 \|", found, re.MULTILINE)
    assert re.search(r"^\| `akh` \(baseline\) \| labels \| 41 to 69 \|", found, re.MULTILINE)
    attacks = figures["attack_costs"]("", "results/noisy_digits")
    row = next(line for line in attacks.splitlines() if "`extract_l`" in line)
    assert "| 6,600 | 80.0 % | 3.0 | 80 |" in row and row.endswith("| `ewe` 1.00 | `akh` 0.91 |")
    row = next(line for line in attacks.splitlines() if "`extract_adv`" in line)
    assert row.startswith("| `extract_adv` | 7,260 |")  # 660, and 6,600 of the student of `extract_l`


@pytest.mark.parametrize("part", ["card", "method_costs", "attack_costs", "accused"])
def test_what_is_not_measured_yet_is_named(figures, part):
    words = ("sac_m", "prune") if part == "card" else ()
    assert "`results/nowhere` is not there yet" in figures[part]("", "results/nowhere", *words)
    few = figures[part]("", "results/fashion_mnist-small", *words)
    assert "has 1 of the 5 sources that a figure needs" in few and "0." not in few


def test_a_cell_of_few_sources_has_no_figure(figures, tmp_path):
    """An incomplete run has five sources in its plan, and fewer in some cells."""
    for name in ("run.json", "trials.csv", "table.csv"):
        (tmp_path / name).write_text((ROOT / "results/noisy_digits" / name).read_text())
    with (tmp_path / "table.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        if row["method"] == "sac_m" and row["attack"] == "prune":
            row["sources"] = "4"
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    found = figures["card"]("", str(tmp_path), "sac_m", "extract_l", "prune")
    assert "| `prune` | – | – | – | – |" in found and "| `extract_l` | 0.89" in found
    row = next(line for line in figures["attack_costs"]("", str(tmp_path)).splitlines() if "`prune`" in line)
    assert "(6)" in row


def test_a_card_of_what_did_not_take_part_has_no_figure(figures):
    assert "was made without `zest`" in figures["card"]("", "results/noisy_digits", "zest", "prune")
    assert "without it" in figures["accused"]("", "results/noisy_digits", "taggants")
    with pytest.raises(bench.BenchError, match="has no attack 'prunes': correct the card of sac_m"):
        figures["card"]("", "results/noisy_digits", "sac_m", "prunes")


def test_whom_an_accuser_can_accuse(figures, tmp_path):
    assert "is not there yet. `python -m benchmarks.accusations WORK" in figures["accusations"]("", "results/nowhere")
    head = "dataset,source_architecture,method,accuser,asks,hits,of,low,high,sources,others,refuted,cannot_tell,"
    head += "preset,steps,cpu,reason"
    lines = [f"d,a,m,{name},labels,{hits},20,0.5,1,{{sources}},19,18,2,p,7,c," for name, hits in
             (("honest", 1), ("tuned", 20), ("regenerated", 3))]  # fmt: skip
    text = "\n".join([head, *lines, "d,a,none,,,,,,,,,,,p,7,c,it holds no images", ""])
    file = tmp_path / "accusations.csv"
    file.write_text(text.format(sources=4))
    few = figures["accusations"]("", str(tmp_path))
    assert "fewer than the 5 sources" in few and "0.50" not in few
    file.write_text(text.format(sources=5))
    found = figures["accusations"]("", str(tmp_path))
    share = "[0.50, 1.00]"
    assert f"| `m` | labels | 1 of 20 {share} | 20 of 20 {share} | 3 of 20 {share} | 18 | 2 |" in found
    assert "| `none` | – | – | – | – | – | – |" in found and "`none`: it holds no images." in found
    assert "5 sources, 19 other innocents, preset `p`, 7 steps, c" in found.replace("), ", ", ").replace("(", "")


def test_the_aucs_of_adversarial_extraction_on_cifar10_are_those_of_the_published_run():
    with (ROOT / "results/cifar10-cpu/table.csv").open(newline="") as lines:
        rows = {r["method"]: r for r in csv.DictReader(lines) if r["attack"] == "extract_adv"}
    shown = [" [".join((f"{float(rows[m]['auc']):.2f}", f"{float(rows[m]['low']):.2f}, {float(rows[m]['high']):.2f}]"))
             for m in ("sac_m", "sac_w", "cae", "ipguard", "akh")]  # fmt: skip
    text = " ".join(read("docs/attacks.md").split())
    assert "AUC {}, {}, {} and {}, where".format(*shown) in text
    assert f"The baseline `akh` has {shown[-1]}." in text


def test_the_queries_in_the_text_are_those_of_the_published_runs():
    digits, field = (pd.read_csv(ROOT / f"results/{name}/trials.csv") for name in ("noisy_digits", "field"))
    asked = digits[digits["method"] == "akh"]["queries"]
    assert f"misclassifies {asked.min():.0f} to {asked.max():.0f} of the 299 `probe` images" in read("docs/sac.md")
    (free,), (labels,) = (
        field[field["attack"] == attack]["source_queries"].dropna().unique() for attack in ("data_free", "extract_l")
    )
    assert f"{free:,.0f} on `noisy_digits`, where `extract_l` asks {labels:,.0f}." in read("docs/attacks.md")


def test_every_method_of_the_field_has_a_card():
    page = read("docs/methods.md")
    named = set(re.findall(r"^\| `(\w+)` \|", page.split("Which to use")[0], re.MULTILINE))
    assert len(named) == 11 and named == set(re.findall(r"generated: card results/field (\w+)", page))


def test_the_pictures_show_every_method_and_attack_with_an_auc_over_sources(tmp_path):
    main = runpy.run_path(str(ROOT / "docs/pictures.py"))["main"]
    with matplotlib.rc_context():
        done = CliRunner().invoke(main, ["results/noisy_digits", "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    spec = json.loads(read("results/noisy_digits/run.json"))["spec"]
    drawn = {kind: (tmp_path / f"noisy_digits-{kind}.svg").read_text() for kind in ("sources", "accuracy", "cost")}
    for text in drawn.values():
        assert all(f">{name}</text>" in text for name in spec["methods"])
    at_home = [name for name in spec["attacks"] if not name.startswith("transfer") and name != "finetune_c"]
    assert all(f">{name}</text>" in drawn["sources"] for name in at_home)
    assert ">transfer_a</text>" not in drawn["sources"]
    assert drawn["sources"].count(">0.4</text>") == 4, "six panels in two rows: each column has the numbers of its axis"


def aucs_by_source(folder: str, attack: str, methods: Iterable[str]) -> dict[str, np.ndarray]:
    rows = pd.read_csv(ROOT / folder / "trials.csv").dropna(subset=["score"])
    rows = rows[(rows["suspect_dataset"] == rows["dataset"]) & ((rows["attack"] == attack) | rows["attack"].isna())]
    found = {}
    for method in methods:
        by_source = []
        for _, source in rows[rows["method"] == method].groupby("source_seed"):
            draws = [
                roc_auc_score(d["suspect_kind"] == "stolen", d["score"])
                for _, d in source.groupby("draw" if source["draw"].notna().all() else "source_seed")
            ]
            by_source.append(np.mean(draws))
        found[method] = np.array(by_source)
    return found


def test_the_methods_that_find_longer_trained_students_better_are_counted_by_source():
    methods = json.loads(read("results/variations/run.json"))["spec"]["methods"]
    usual, longer = (aucs_by_source("results/variations", f"extract_l_{p}", methods) for p in (100, 400))
    differences = [difference_over_sources(longer[m], usual[m]) for m in methods]
    higher = [d for d in differences if d.difference > 0]
    within = sum(d.low <= 0 for d in higher)
    said = f"{len(higher)} of {len(methods)} methods have a higher mean, {within} of them within their intervals"
    assert said in " ".join(read("docs/findings.md").split())
    assert all(d.low <= 0 <= d.high for d in differences if d.difference <= 0)


def test_how_far_single_sources_lie_from_the_mean_is_counted_from_their_scores(figures):
    methods = ("sac_m", "ipguard", "noise")
    found = figures["one_source"]("", "results/noisy_digits", "extract_l", "akh")
    aucs = aucs_by_source("results/noisy_digits", "extract_l", (*methods, "akh"))
    akh = aucs["akh"]
    for method in methods:
        own = aucs[method]
        near = int((abs(own - own.mean()) <= 0.05 + 1e-9).sum())
        reverse = int(((own - akh) * (own.mean() - akh.mean()) < 0).sum())
        line = next(line for line in found.splitlines() if line.startswith(f"| `{method}`"))
        assert f"| {own.min():.2f} to {own.max():.2f} | {near} of 20 | {reverse} of 20 |" in line
        t = own.mean()
        alone = np.sqrt(t * (1 - t) * (1 + 3 * (1 - t) / (2 - t) + 3 * t / (1 + t)) / 16)
        assert f"| {own.std(ddof=1):.2f} | {alone:.2f} |" in line
    assert "| s.d. that 4 against 4 models give by themselves |" in found


def test_other_students_of_one_source_make_another_auc():
    one = aucs_by_source("results/field", "extract_l", ["sac_m"])["sac_m"][4]
    other = aucs_by_source("results/variations", "extract_l_100", ["sac_m"])["sac_m"][4]
    assert f"SAC-m has {one:.2f} against the four students of" in read("docs/findings.md").replace("\n  ", " ")
    assert f"and {other:.2f} against those of" in read("docs/findings.md").replace("\n  ", " ")


def test_aucs_at_equal_accuracy_are_those_of_a_regression_on_the_other_sources(figures):
    rows = pd.read_csv(ROOT / "results/noisy_digits/trials.csv").dropna(subset=["score"])
    rows = rows[(rows["suspect_dataset"] == rows["dataset"]) & (rows["method"] == "sac_m")]
    innocent = rows[rows["suspect_kind"] == "irrelevant"]
    by_source = []
    for seed, source in rows.groupby("source_seed"):
        others = innocent[innocent["source_seed"] != seed]
        levels = pd.get_dummies(others["source_seed"].astype(str) + " " + others["draw"].astype(str))
        columns = np.column_stack([others["suspect_accuracy"], levels]).astype(float)
        slope = np.linalg.lstsq(columns, others["score"], rcond=None)[0][0]
        own = source[(source["attack"] == "extract_l") | source["attack"].isna()]
        by_source.append(
            np.mean(
                [
                    roc_auc_score(d["suspect_kind"] == "stolen", d["score"] - slope * d["suspect_accuracy"])
                    for _, d in own.groupby("draw")
                ]
            )
        )
    found = figures["accuracy"]("", "results/noisy_digits", "extract_l")
    line = next(line for line in found.splitlines() if line.startswith("| `sac_m` |"))
    assert re.search(rf"\| {np.mean(by_source):.2f} \[[\d., ]+\] \|$", line), line
    within = innocent.groupby(["source_seed", "draw"])[["suspect_accuracy", "score"]].transform(lambda v: v - v.mean())
    assert f"| `sac_m` | {np.corrcoef(within.T)[0, 1]:.2f} |" in line


def test_accuracies_and_scores_of_irrelevant_models_are_their_means(figures):
    rows = pd.read_csv(ROOT / "results/noisy_digits/trials.csv")
    rows = rows[(rows["suspect_kind"] == "irrelevant") & (rows["suspect_dataset"] == rows["dataset"])]
    found = figures["irrelevant"]("", "results/noisy_digits", "akh", "sac_m")
    for architecture, own in rows.groupby("suspect_architecture"):
        scores = [own.loc[own["method"] == method, "score"].mean() for method in ("akh", "sac_m")]
        share = own.loc[own["method"] == "akh", "suspect_accuracy"].mean()
        assert f"| `{architecture}` | {100 * share:.1f} % | {scores[0]:.3f} | {scores[1]:.3f} |" in found


def test_copies_below_irrelevant_models_are_counted(figures):
    rows = pd.read_csv(ROOT / "results/noisy_digits/trials.csv").dropna(subset=["score"])
    rows = rows[(rows["suspect_dataset"] == rows["dataset"]) & (rows["method"] == "sac_m")]
    most = every = copies = 0
    for seed in rows["source_seed"].unique():
        own = rows[rows["source_seed"] == seed]
        innocent = [d["score"].mean() for _, d in own[own["attack"].isna()].groupby("suspect_digest")]
        for _, copy in own[own["attack"] == "extract_l"].groupby("suspect_digest"):
            above = sum(score > copy["score"].mean() for score in innocent)
            most, every, copies = most + (above > len(innocent) / 2), every + (above == len(innocent)), copies + 1
    assert copies == 80 and 0 < every < most
    line = next(
        line for line in figures["below"]("", "results/noisy_digits", "extract_l").splitlines() if "`sac_m`" in line
    )
    assert line.endswith(f"| {most} of 80 | {every} of 80 |")
