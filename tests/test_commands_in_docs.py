"""Every command that a document tells to type is typed here, in its order, in a folder of the document's own.

Runs are those of the preset `smoke`, in one store for all documents. What needs data that are not bundled or a GPU is
planned (`--dry-run`), and what needs a network or a cluster is read by the real command line and not carried out.
"""

import importlib
import re
import shlex
import shutil
from pathlib import Path

import click
import numpy as np
import pytest

from bench.cli import COMMANDS

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "results/README.md"])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OTHERS = ("pip", "python", "python3.11", ".", "tox", "pytest", "dask", "salloc", "srun", "for", "git", "pre-commit")
"""Programs besides `bench` that documents call."""
REAL = ("fashion_mnist", "cifar", "tiny_imagenet")
SMOKE = ["--preset", "smoke"]
RUN = ["run", *SMOKE, "--methods", "akh", "--attacks", "finetune_a", "--no-baselines", "--workers", "0"]
LONG = (
    ["run"],
    ["run", "--methods", "sac_m,cae"],
    ["run", "--seeds", "20", "--out", "results/noisy_digits"],
    ["run", "--seeds", "5", "--out", "results/digits"],
    ["check", "my_idea.py"],
)
"""More than some ten seconds."""


def steps(path: Path) -> list[str]:
    """List the command lines of a document: blocks, fenced or indented, that begin with a program."""
    found = []
    text = path.read_text()
    fenced = {m.start(): m[2] for m in FENCE.finditer(text) if not m[1]}
    bare = FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    indented = {m.start(): m[0].replace("    ", "", 1) for m in re.finditer(r"(?<=\n\n) {4}\S.*\n(?: {4}.*\n)*", bare)}
    for _, block in sorted({**fenced, **indented}.items()):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        if lines[0].split()[0] in ("bench", *OTHERS) or re.match(r"[A-Z_]+=", lines[0]):
            found += lines
    return found


def commands_of(line: str) -> list[list[str]]:
    """Split a line into its commands, without variables, `&`, and what starts them elsewhere (`srun`, `for`)."""
    line = re.sub(r"^for .*?; do (.*?) & done$", r"\1", line)
    parts = [shlex.split(part, comments=True) for part in line.removesuffix(" &").split(" && ")]
    found = []
    for words in parts:
        while re.match(r"[A-Z_]+=", words[0]) or words[0] == "srun" or words[0].startswith("--export"):
            words = words[1:]
        found.append(words)
    return found


ALL = [(path, i, words) for path in DOCUMENTS for i, line in enumerate(steps(path)) for words in commands_of(line)]


def named(case: tuple[Path, int, list[str]]) -> str:
    path, number, words = case
    return f"{path.relative_to(ROOT)}-{number}-{' '.join(words)[:60]}"


def how(words: list[str]) -> tuple[str, list[str]]:
    """Return what can be done with a command of `bench` here, `carry out` or `read`, and with which words."""
    if (words[0] == "data" and words[1] in ("fetch", "verify", "add", "remove")) or "--scheduler" in words:
        return "read", words
    if words[0] in ("innocents", "commit", "verify", "judge"):  # of networks that a reader has
        return "read", words
    if words[:2] == ["store", "gc"]:
        return "carry out", [*words, "--yes"]
    if words[0] != "run":
        return "carry out", words
    text = " ".join(words)
    if "--dry-run" in words or "medium" in text or "paper" in text or any(name in text for name in REAL):
        return "carry out", [*words, *(["--dry-run"] if "--dry-run" not in words else [])]
    if "field" in words:  # everything that is installed: with the sizes of smoke
        words = [*(w for w in words if w not in ("--preset", "field")), *SMOKE]
    if "--seeds" in words:
        words = [*words, "--seeds", "1"]
    return "carry out", [*words, *([] if "--preset" in words else SMOKE), "--workers", "0"]


def command(words: list[str]) -> tuple[click.Command, list[str]]:
    """Find the command of `bench`, and what is left for it."""
    assert words[0] in COMMANDS, words
    return importlib.import_module(f"bench.cli.commands.{words[0]}").command, words[1:]


def carry_out(words: list[str]) -> None:
    found, rest = command(words)
    assert (found.main(rest, standalone_mode=False) or 0) == 0, words


def read(found: click.Command, words: list[str]) -> None:
    """Let a command line read its words, subcommands too, and do nothing."""
    context = found.make_context(found.name, list(words))
    if isinstance(found, click.Group):
        rest = context._protected_args + context.args
        name, inner, rest = found.resolve_command(context, rest)
        assert inner is not None, name
        read(inner, rest)


@pytest.fixture(scope="module")
def place_of(tmp_path_factory):
    """Make a folder for each document, with the plugins of all guides, the data that one needs, and results."""
    made: dict[Path, Path] = {}

    def place(path: Path) -> Path:
        if path in made:
            return made[path]
        made[path] = folder = tmp_path_factory.mktemp(path.stem)
        (folder / "docs").mkdir()
        for name in ("variations.py", "adversarial.py", "causes.py", "strangers.py"):
            shutil.copy(ROOT / "docs" / name, folder / "docs")
        for document in DOCUMENTS:
            for language, text in FENCE.findall(document.read_text()):
                name = re.search(r'name: str = "(\w+)"', text)
                if language == "python" and "@hookimpl" in text and name:
                    (folder / f"{name[1]}.py").write_text(text)
        random, flowers = np.random.default_rng(0), folder / "my_data" / "flowers"
        flowers.mkdir(parents=True)
        for part, count in (("train", 160), ("test", 80)):
            labels = np.arange(count) % 4
            images = random.integers(0, 128, (count, 3, 16, 16)) + 40 * labels[:, None, None, None]
            np.save(flowers / f"{part}-images.npy", images.clip(0, 255).astype(np.uint8))
            np.save(flowers / f"{part}-labels.npy", labels.astype(np.int64))
        return folder

    return place


def marks(words: list[str]) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if words[1:] in LONG or {"field", "docs/strangers.py"} & {*words} else []


@pytest.mark.parametrize("case", [pytest.param(c, id=named(c), marks=marks(c[2])) for c in ALL if c[2][0] == "bench"])
def test_a_command_of_bench_does_what_it_is_there_for(case, place_of, monkeypatch):
    path, _, words = case
    place = place_of(path)
    monkeypatch.chdir(place)
    what, words = how(words[1:])
    for results in ("NAME", "fashion_mnist-medium", "cifar10-medium"):
        if any(results in word for word in words) and words[0] in ("report", "store"):
            carry_out([*RUN, "--out", f"results/{results}"])
    if words[:2] == ["store", "gc"]:
        carry_out([*RUN, "--out", "results/NAME"])
        words = [*words, "--store", "own"]
        carry_out([*RUN, "--store", "own", "--out", "results/NAME"])
    if what == "read":
        read(*command(words))
    else:
        carry_out(words)


CONSOLE = [
    pytest.param(line.split(" # ")[0], id=f"{path.relative_to(ROOT)}-{line[:60]}")
    for path in DOCUMENTS
    for block in re.findall(r"^```console\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("bench ")
]
"""The commands that need files of a reader's: the command line reads them, and does nothing."""


@pytest.mark.parametrize("line", CONSOLE)
def test_a_command_for_files_of_the_readers_is_one_that_bench_reads(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)[1:]
    for word in words:
        if word.endswith((".toml", ".json", ".key", ".pub")):
            Path(word).parent.mkdir(parents=True, exist_ok=True)
            Path(word).touch()
    read(*command(words))


@pytest.mark.parametrize("case", [pytest.param(c, id=named(c)) for c in ALL if c[2][0] == "dask"])
def test_a_command_of_dask_is_one_that_dask_reads(case, tmp_path, monkeypatch):
    _, _, words = case
    monkeypatch.chdir(tmp_path)
    for name in ("hosts.txt", "ca.pem", "cert.pem", "key.pem"):
        Path(name).touch()
    main = importlib.import_module(f"distributed.cli.dask_{words[1]}").main
    read(main, words[2:])


def test_workers_of_a_cluster_may_use_the_memory_of_their_machine():
    """By default Dask pauses a worker of one thread above 80 % of the share of one core, and kills it above 95 %."""
    workers = [words for _, _, words in ALL if words[:2] in (["dask", "worker"], ["dask", "ssh"])]
    assert len(workers) >= 5
    assert all(words[words.index("--memory-limit") + 1] == "0" for words in workers)


@pytest.mark.parametrize("case", [pytest.param(c, id=named(c)) for c in ALL if c[2][0] not in ("bench", "dask")])
def test_any_other_command_names_what_is_there(case):
    """Installs and tests are what tox does: their files, extras and marks are looked up here."""
    _, _, words = case
    assert words[0] in OTHERS, words
    for word in words:
        extra = re.fullmatch(r"\.\[(\w+)\]", word)
        assert not extra or f"\n{extra[1]} =\n" in (ROOT / "setup.cfg").read_text(), word
        if word.endswith((".txt", ".py")) and word != "hosts.txt":
            assert (ROOT / word).is_file(), word
    if words[0] == "pytest" and "-m" in words:
        known = {"slow", "gpu", "faults", "not", "and", "or"}
        assert set(words[words.index("-m") + 1].split()) <= known


def test_documents_are_full_of_commands():
    assert len([c for c in ALL if c[2][0] == "bench" and how(c[2][1:])[0] == "carry out"]) >= 40


def test_the_method_of_the_guide_fits_in_forty_lines_and_its_dash_is_filled_by_one_line(place_of, monkeypatch, capfd):
    path = ROOT / "docs/writing-a-method.md"
    monkeypatch.chdir(place_of(path))
    text = Path("my_idea.py").read_text()
    command = ["run", "--plugin", "my_idea.py", "--methods", "my_idea", *SMOKE, "--attacks", "finetune_a,transfer_a"]
    for change, shown in (("", "–"), ("    any_label_space = True\n", r"[01]\.\d\d")):
        added = text.replace('    budget = "samples"\n', f'    budget = "samples"\n{change}')
        Path("my_idea.py").write_text(added)
        assert len(added.splitlines()) <= 40
        carry_out([*command, "--workers", "0", "--out", f"results/mine{len(change)}"])
        assert re.search(rf"^my_idea +[01]\.\d\d +{shown}", capfd.readouterr().out, re.MULTILINE)
