"""The progress of a run: a live display with a table of AUCs on a terminal, plain lines elsewhere."""

import io
import sys

import pytest
from rich.console import Console
from test_eta import tasks
from test_live_auc import irrelevant, nothing, stolen

from bench import cli
from bench.core.tasks import Outcome, Task
from bench.frontend.live_auc import LiveAucs
from bench.frontend.progress import Progress
from bench.sandbox.logs import Log
from bench.sandbox.torch_state import isolated
from bench.testing import toy_plugins


@pytest.mark.parametrize(("count", "errors", "shown"), [(3, 1, 3), (707, 1, 21), (60, 3, 60), (900, 300, 201)])
def test_many_failures_are_not_all_printed(capsys, count, errors, shown):
    tasks = {f"{n:064}": Task("train", "source", {}, {}, f"{n:064}") for n in range(count)}
    progress = Progress(tasks, quiet=True)
    for n, key in enumerate(tasks):
        progress.task_finished(Outcome(key, "failed", error=f"no picture {n % errors}", root=f"task {n}"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == shown
    assert progress.counts["failed"] == count
    if shown < count:
        assert lines[-1] == "others like these are not listed"


class Unread(io.StringIO):
    """A pipe whose reader has ended, as Ctrl-C ends the `tee` of `bench run 2>&1 | tee log`, too."""

    def write(self, text):
        raise BrokenPipeError


def test_a_run_goes_on_where_nobody_reads_its_lines_any_more(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Unread())
    monkeypatch.setattr("bench.frontend.progress.LINE_INTERVAL", 0.0)
    progress = Progress(tasks(score_sac=2))
    for key, status in zip(progress.tasks, ("done", "failed"), strict=True):
        progress.task_finished(Outcome(key, status, error="no picture"))
    assert (progress.counts["done"], progress.counts["failed"]) == (1, 1)


class Terminal(io.StringIO):
    """A stream that looks like a terminal."""

    def isatty(self):
        return True


def seen(progress, width=100):
    """Return what the display shows."""
    console = Console(file=io.StringIO(), width=width)
    console.print(progress.render())
    return console.file.getvalue()


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that turns standard error into a terminal; pytest replaces it before each test."""

    def become():
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setenv("TERM", "xterm")
        return sys.stderr

    return become


TRIALS = [
    *irrelevant(2),
    *stolen(2),
    *stolen(1, "transfer", on="letters", reason="compares labels"),
    *irrelevant(2, method="noise"),
    *stolen(2, method="noise"),
    *stolen(1, "transfer", on="letters", method="noise", reason="compares labels"),
]


def scored(progress, trials, values):
    for t, value in zip(trials, values, strict=True):
        progress.task_finished(Outcome(t.score, "done", facts={"score": value}))


@pytest.fixture
def run(terminal):
    """Return the progress of a run whose tasks have the keys of the trials' scores."""
    terminal()
    made = dict(zip([t.score for t in TRIALS if t.score], tasks(score_sac=8).values(), strict=True))
    with Progress(made, live_aucs=lambda: LiveAucs(TRIALS, ("noise",), nothing)) as progress:
        yield progress


def test_aucs_fill_a_table_while_scores_arrive(run, monkeypatch):
    monkeypatch.setattr("bench.frontend.progress.TABLE_INTERVAL", 0.0)
    assert "AUC" not in seen(run)
    scored(run, TRIALS[:3], [0.1, 0.2, 0.3])
    shown = seen(run)
    assert "AUCs so far" in shown
    assert "3 of 8 tasks done" in shown
    assert [line.split() for line in shown.splitlines() if line.split()[:1] in (["sac"], ["noise"])] == [
        ["sac", "1.00…", "–"],
        ["noise", "·", "–"],
    ]
    scored(run, [TRIALS[3], *TRIALS[5:9]], [0.0, 0.5, 0.5, 0.5, 0.5])
    rows = [line.split() for line in seen(run).splitlines()]
    assert ["sac", "0.50", "–"] in rows
    assert ["noise", "0.50", "–"] in rows
    between = rows[rows.index(["sac", "0.50", "–"]) + 1]
    assert set("".join(between)) == {"─"}, "baselines are below a line"


def test_the_table_is_drawn_at_most_once_in_a_while(run, monkeypatch):
    monkeypatch.setattr("bench.frontend.progress.TABLE_INTERVAL", 3600.0)
    scored(run, TRIALS[:3], [0.1, 0.2, 0.3])
    first = seen(run)
    scored(run, TRIALS[3:4], [0.0])
    assert [*filter(lambda line: "sac" in line, seen(run).splitlines())] == [
        line for line in first.splitlines() if "sac" in line
    ]


def test_the_table_fits_a_narrow_terminal(run, monkeypatch):
    monkeypatch.setattr("bench.frontend.progress.TABLE_INTERVAL", 0.0)
    scored(run, TRIALS[:4], [0.1, 0.2, 0.3, 0.4])
    assert max(map(len, seen(run, 30).splitlines())) <= 30
    assert "1.00" in seen(run, 30)


def test_names_are_no_markup(terminal, monkeypatch):
    terminal()
    trials = [*irrelevant(1, method="[red]x[/]"), *stolen(1, "[b]y", method="[red]x[/]")]
    made = dict(zip([t.score for t in trials], tasks(score_sac=2).values(), strict=True))
    with Progress(made, live_aucs=lambda: LiveAucs(trials, (), nothing)) as progress:
        scored(progress, trials, [0.1, 0.2])
        monkeypatch.setattr("bench.frontend.progress.TABLE_INTERVAL", 0.0)
        assert "[red]x[/]" in seen(progress)
        assert "[b]y" in seen(progress)


def test_without_a_terminal_no_auc_is_computed(capsys, monkeypatch):
    monkeypatch.setattr("bench.frontend.progress.LINE_INTERVAL", 0.0)
    made = tasks(score_sac=2)

    def never():
        raise AssertionError("called")

    with Progress(made, live_aucs=never) as progress:
        for key in made:
            progress.task_started(key)
            progress.task_finished(Outcome(key, "done", facts={"score": 0.5}, seconds=1.0))
    assert capsys.readouterr().err.splitlines() == [
        "1 of 2 tasks done, 0 running, ? left",
        "2 of 2 tasks done, 0 running, ? left",
    ]


def test_a_line_is_printed_while_a_long_task_runs(capsys, monkeypatch):
    (key,) = made = tasks(train_net=1)
    with Progress(made) as progress:
        progress.task_started(key)
        progress.task_progressed(key, 1.0, 9.0, 2.0)
        assert capsys.readouterr().err == ""
        monkeypatch.setattr("bench.frontend.progress.LONGER_INTERVAL", 0.0)
        progress.task_progressed(key, 2.0, 9.0, 1.5)
        progress.task_progressed(key, 3.0, 9.0, 1.0)
    assert capsys.readouterr().err.splitlines() == ["0 of 1 tasks done, 1 running, ? left"] * 2


def test_a_line_is_printed_while_a_task_runs_in_this_process(capsys, monkeypatch, tmp_path):
    """What a task prints goes into its log; this line does not."""
    monkeypatch.setattr("bench.frontend.progress.LONGER_INTERVAL", 0.0)
    (key,) = made = tasks(train_net=1)
    with Progress(made) as progress, isolated(1, Log(tmp_path / "log.txt")):
        progress.task_progressed(key, 1.0, 9.0, 2.0)
    assert capsys.readouterr().err == "0 of 1 tasks done, 1 running, ? left\n"
    assert not (tmp_path / "log.txt").exists()


def test_a_terminal_that_cannot_replace_lines_gets_plain_ones(terminal, monkeypatch):
    shown = terminal()
    monkeypatch.setenv("TERM", "dumb")  # as in a shell of Emacs
    monkeypatch.setattr("bench.frontend.progress.LINE_INTERVAL", 0.0)
    with Progress(made := tasks(score_sac=2)) as progress:
        for key in made:
            progress.task_started(key)
            progress.task_finished(Outcome(key, "done", facts={"score": 0.5}, seconds=1.0))
    assert shown.getvalue().splitlines() == [
        "1 of 2 tasks done, 0 running, ? left",
        "2 of 2 tasks done, 0 running, ? left",
    ]


def test_where_some_work_is_unknown_the_line_has_the_time_of_the_rest():
    tick = iter(range(0, 10_000, 60))
    progress = Progress(made := tasks(train_net=5, fingerprint_a=1))
    progress.eta.clock = lambda: next(tick)
    for key in list(made)[:3]:
        assert progress.remaining() == "?"
        progress.task_started(key)
        progress.task_finished(Outcome(key, "done", seconds=60.0))
    assert progress.remaining().startswith("more than ")
    assert progress.remaining().endswith(" min")


def test_a_task_that_is_recomputed_counts_once(capsys):
    made = tasks(train_net=2)
    progress = Progress(made)
    for key in (*made, *made):
        progress.task_started(key)
        progress.task_finished(Outcome(key, "done", seconds=1.0))
    assert progress.line().startswith("2 of 2 tasks done, 0 running")


def test_a_run_on_a_terminal_shows_its_aucs(terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("bench.frontend.progress.TABLE_INTERVAL", 0.0)
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "bench",
            "run",
            "--plugin",
            toy_plugins.__file__,
            "--datasets",
            "toy",
            "--architectures",
            "toy_net",
            "--attacks",
            "toy_tune",
            "--methods",
            "toy_match",
            "--no-baselines",
            "--replicates",
            "2",
            "--seeds",
            "1",
            "--copies",
            "2",
            "--set",
            "recipe.epochs=2",
            "--workers",
            "0",
        ],
    )
    shown = terminal()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    shown = shown.getvalue()
    assert "AUCs so far" in shown
    assert "toy_match" in shown
