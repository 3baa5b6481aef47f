"""Results held against each other: what may be compared, what differs, what was added or lost."""

import csv
import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_build import benchmark, line, trials

from bench.analysis.comparison import changes, obstacles, read, remarks
from bench.cli.commands.compare import command
from bench.core.canonical import digest
from bench.core.errors import BenchError
from bench.core.spec import Recipe
from bench.reporting.comparison import COLUMNS, compare
from bench.results.writer import save
from bench.stats.differences import difference_interval

PLACE = ("digits", "vgg")


def anew(rows):
    """Return rows of another run: the same trials under other keys, for the work was other work."""
    return [r | {"key": r["key"] and digest([r["key"], "anew"])} for r in rows]


@pytest.fixture
def before(tmp_path):
    save(tmp_path / "before", trials(), benchmark())
    return tmp_path / "before"


def after(folder, rows=None, **changed):
    """Write other results beside `before`."""
    save(folder.parent / "after", anew(trials()) if rows is None else rows, benchmark(**changed))
    return folder.parent / "after"


def spoilt(folder, change):
    """Write other results whose run.json says something else."""
    run = benchmark()
    change(run)
    save(folder.parent / "after", anew(trials()), run)
    return folder.parent / "after"


def lines_of(*folders, **more):
    made = list(csv.DictReader(io.StringIO(compare(folders, "csv", **more))))
    return {(r["method"], r["attack"], r["after"]): r for r in made}


# --- differences --------------------------------------------------------------------------------------------------


def test_a_difference_is_after_minus_before_with_the_interval_of_both(before):
    rows = anew(trials())
    for made in rows:
        if made["method"] == "sac" and made["attack"] == "extract_l":
            made["score"] = 9.0
    first, second = read([before, after(before, rows)])
    found = changes(first, second)[*PLACE, "sac", "extract_l"]
    a, b = found.figures
    assert found.difference == pytest.approx((6 / 54, *difference_interval(b, a)))
    assert (found.what, found.same, found.differs) == ("both", False, False)
    made = lines_of(before, before.parent / "after")["sac", "extract_l", "after"]
    assert [float(made[n]) for n in ("difference", "low", "high")] == pytest.approx(found.difference)
    assert list(made) == [c.name for c in COLUMNS]
    text = " ".join(compare([before, before.parent / "after"]).split())
    assert "its 95 % interval (for the mean over sources of this kind;" in text


def lowered(rows):
    """Lower every score of one cell below those of the irrelevant models."""
    return [r | {"score": -9.0} if (r["method"], r["attack"]) == ("sac", "extract_l") else r for r in rows]


@pytest.mark.parametrize("sources", [1, 2, 5])
def test_cells_whose_interval_leaves_out_zero_are_marked_if_both_have_several_sources(tmp_path, sources):
    seeds = tuple(range(sources))
    save(tmp_path / "before", trials(seeds), benchmark(seeds=seeds))
    text = compare([tmp_path / "before", after(tmp_path / "before", lowered(anew(trials(seeds))), seeds=seeds)])
    marked = int(sources > 1)
    assert text.split("The AUC of A")[0].count("≠") == marked
    counts = f"of the other 7, {marked} differ (by chance alone at most about 0.1 would, at 95 %)"
    single = "0 of them with all scores equal; 7 not judged, since that needs several sources in both"
    assert (single if sources == 1 else counts) in " ".join(text.split())
    assert ("by chance" in text) is (sources > 1)


def test_cells_of_one_source_do_not_count_among_those_that_differ_by_chance(tmp_path):
    rows = [r for r in trials((0, 1)) if r["method"] == "sac" or r["source_seed"] == 0]
    save(tmp_path / "before", rows, benchmark(seeds=(0, 1)))
    other = after(tmp_path / "before", lowered(anew(rows)), seeds=(0, 1))
    text = " ".join(compare([tmp_path / "before", other]).split())
    counts = "of the other 3 with several sources in both, 1 differ (by chance alone at most about 0.1 would, at 95 %)"
    assert counts in text
    assert "; 4 not judged, since that needs several sources in both" in text


def test_cells_that_are_perfect_at_every_source_of_both_results_cannot_differ_by_chance(tmp_path):
    rows = [r | {"score": r["score"] + 9} if r["attack"] and r["status"] == "done" else r for r in trials((0, 1))]
    save(tmp_path / "before", rows, benchmark(seeds=(0, 1)))
    scaled = [r if r["score"] is None else r | {"score": 2 * r["score"]} for r in anew(rows)]
    text = " ".join(compare([tmp_path / "before", after(tmp_path / "before", scaled, seeds=(0, 1))]).split())
    assert "0 of them with all scores equal; of the other 7, 0 differ" in text
    assert "by chance" not in text


def with_digests(rows, source="5a", suspect="5b"):
    return [r | {"source_digest": source, "suspect_digest": suspect} for r in rows]


@pytest.mark.parametrize("digests", [{}, {"source": "5c"}, {"suspect": "5c"}, {"suspect": ""}, None])
def test_equal_keys_with_other_scores_and_not_the_same_digests_are_of_other_networks(tmp_path, digests):
    known = digests != {}
    save(tmp_path / "before", with_digests(trials()) if known else trials(), benchmark())
    rows = lowered(trials())
    other = after(tmp_path / "before", with_digests(rows, **digests) if digests else rows)
    text = " ".join(compare([tmp_path / "before", other]).split())
    made = "1 with the same seeds, made with other hardware, libraries or code"
    assert f"7 cells in both, 6 of them with all scores equal, {made}" in text
    assert "B 0.00 ~" in text and "B 1.00 =" in text
    lines = lines_of(tmp_path / "before", other)
    found = lines["sac", "extract_l", "after"], lines["sac", "finetune_a", "after"]
    assert [(m["same"], m["same_seeds"], m["same_networks"]) for m in found] == [("0", "1", "0"), ("1", "0", "0")]


def test_equal_keys_and_digests_with_other_scores_are_of_the_same_networks(tmp_path):
    save(tmp_path / "before", with_digests(trials()), benchmark())
    other = after(tmp_path / "before", with_digests(lowered(trials())))
    text = " ".join(compare([tmp_path / "before", other]).split())
    assert "7 cells in both, 6 of them with all scores equal, 1 with other scores of the same networks" in text
    assert "B 0.00 !" in text and "B 1.00 =" in text
    assert "made with other hardware" not in text.split("The AUC of A")[0]
    found = lines_of(tmp_path / "before", other)["sac", "extract_l", "after"]
    assert (found["same"], found["same_seeds"], found["same_networks"]) == ("0", "1", "1")


def test_the_machines_of_both_are_named(before):
    run = benchmark() | {"machines": {"Linux x86_64, a processor, AVX2": 12}}
    save(before.parent / "after", trials(), run)
    assert "machine unknown / Linux x86_64, a processor, AVX2" in " ".join(
        compare([before, before.parent / "after"]).split()
    )


def test_equal_scores_need_no_interval(before):
    text = compare([before, before])
    assert "7 cells in both, 7 of them with all scores equal" in " ".join(text.split())
    assert "B 0.89 =" in text
    assert "[" not in text.split("The AUC of A")[0]
    assert all(made["same"] in ("1", "") for made in lines_of(before, before).values())


def test_suspects_that_are_to_be_judged_belong_to_no_cell(tmp_path):
    folders = [tmp_path / "before", tmp_path / "after"]
    for folder, score in zip(folders, (0.1, 0.2), strict=True):
        suspect = line(replicate=9, score=score, suspect_kind="undecided", source_model="mine", suspect_model="theirs")
        save(folder, [*trials(), suspect], benchmark(models=({"name": "mine"},)))
    assert all(change.same for change in changes(*read(folders)).values())


def test_cells_that_were_added_or_lost_are_named(before):
    rows = anew([r for r in trials() if r["method"] != "mark" and r["attack"] != "finetune_a"])
    other = after(before, rows, methods=("sac",), attacks=("extract_l", "transfer"))
    text = compare([before, other])
    joined = " ".join(text.split())
    assert "lost in B: digits, vgg: sac, noise (finetune_a); digits, vgg: mark (finetune_a, extract_l)" in joined
    assert "added in" not in joined
    assert "added in B: digits, vgg: sac, noise (finetune_a); digits, vgg: mark (finetune_a, extract_l)" in " ".join(
        compare([other, before]).split()
    )
    made = lines_of(before, other)
    assert made["mark", "extract_l", "after"]["what"] == "lost"
    assert made["mark", "transfer", "after"]["what"] == "none"
    assert made["mark", "extract_l", "after"]["difference"] == ""


def test_a_cell_without_a_figure_in_one_of_them_says_why(before):
    rows = anew(trials())
    for made in rows:
        if made["method"] == "sac" and made["attack"] == "extract_l":
            made |= {"status": "failed", "score": None, "error": "score sac: no"}
    text = compare([before, after(before, rows)])
    assert "A 0.89" in text and "B *" in text
    assert "lost in B: digits, vgg: sac (extract_l)" in text
    sac = next(n for n in text.splitlines() if n.startswith("mark"))
    assert sac.split()[-1] == "–"  # not applicable in both


def test_a_cell_whose_suspects_did_not_learn_is_not_incomplete(before):
    rows = anew(trials())
    for made in rows:
        if made["method"] == "sac" and made["attack"] == "extract_l":
            made["suspect_accuracy"] = 0.1
    text = compare([before, after(before, rows)])
    assert "B not trained" in text and "B *" not in text
    assert "not trained: no stolen suspect is better than chance." in " ".join(text.split())


def test_three_results_are_held_against_the_first(before):
    save(before.parent / "third", anew(trials()), benchmark())
    other = after(before)
    text = compare([before, other, before.parent / "third"])
    assert "AUC of A to C" in text
    assert text.count("against A:") == 2
    made = lines_of(before, other, before.parent / "third")
    assert {name for _, _, name in made} == {"after", "third"}
    assert {r["before"] for r in made.values()} == {"before"}


def test_the_folder_where_one_is_has_its_name(before, monkeypatch):
    other = after(before)
    monkeypatch.chdir(before)
    assert [r.name for r in read([Path(), other])] == ["before", "after"]
    (other / "inner").mkdir()
    monkeypatch.chdir(other / "inner")
    assert [r.name for r in read([before, Path("..")])] == ["before", "after"]


def test_baselines_stand_below_the_line_and_new_methods_above_it(before):
    run = benchmark(methods=("sac", "mark", "late"))
    run["components"]["method"]["late"] = run["components"]["method"]["mark"]
    rows = anew(trials()) + [r | {"method": "late", "key": r["key"] and digest([r["key"], 3])} for r in trials()
                             if r["method"] == "mark"]  # fmt: skip
    save(before.parent / "after", rows, run)
    shown = compare([before, before.parent / "after"], "md").splitlines()
    assert [n.split("|")[1].strip() for n in shown if n.startswith("|")][2:] == [
        "sac", "mark", "late", "*baselines*", "noise",
    ]  # fmt: skip


# --- what may be compared -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"preset": "small"}, "preset quick / small"),
        ({"recipe": Recipe(epochs=8, precision="fp32")}, "recipe.epochs 7 / 8"),
        ({"recipe": Recipe(epochs=7, precision="bf16")}, "recipe.precision fp32 / bf16"),
        ({"suspects": ("net", "res", "vgg")}, "suspects net, res / net, res, vgg"),
        ({"copies": 5}, "copies 2 / 5"),
    ],
)
def test_another_protocol_is_refused_with_the_reason(before, changed, reason):
    with pytest.raises(BenchError) as caught:
        compare([before, after(before, **changed)])
    assert f"(before and after: {reason})" in str(caught.value)
    assert str(caught.value).endswith("--force")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name", "field", "value", "reason"),
    [
        ("dataset", "digits", "version", 2, "version of dataset digits 1 / 2"),
        ("dataset", "letters", "version", 2, "version of dataset letters 1 / 2"),
        ("architecture", "net", "params", {"width": 8}, "net.width none / 8"),
        ("attack", "extract_l", "params", {"length": 0.5}, "extract_l.length none / 0.5"),
    ],
)
def test_other_versions_or_parameters_of_what_both_have_are_refused(before, kind, name, field, value, reason):
    other = spoilt(before, lambda run: run["components"][kind][name].update({field: value}))
    first, second = read([before, other])
    assert obstacles(first, second) == [reason]


def test_what_only_one_of_them_has_is_no_obstacle(before):
    rows = anew([r for r in trials() if r["attack"] != "transfer" and r["suspect_dataset"] == "digits"])
    other = after(before, rows, attacks=("finetune_a", "extract_l"))
    first, second = read([before, other])
    second.run["components"]["dataset"]["letters"]["version"] = 2  # on which nothing landed there
    assert obstacles(first, second) == []


def test_methods_seeds_and_numbers_of_models_may_differ_and_are_told(before):
    def change(run):
        run["components"]["method"]["sac"]["params"] = {"samples": 50}
        run["spec"]["target_replicates"] = 2
        run["libraries"]["torch"] = "3.0"

    first, second = read([before, spoilt(before, change)])
    assert obstacles(first, second) == []
    assert remarks(first, second) == ["sac.samples 100 / 50", "target_replicates 3 / 2", "torch 2.13.0 / 3.0"]
    joined = " ".join(compare([before, before.parent / "after"]).split())
    assert (
        "B: after, preset quick, 2026-11-25; unlike A: sac.samples 100 / 50; target_replicates 3 / 2; torch" in joined
    )


def test_described_networks_and_draws_may_differ_and_are_named(before):
    def described(*names, **more):
        return tuple({"name": n, "role": "irrelevant", "format": "onnx", **more} for n in names)

    save(before, trials(), benchmark(models=described("mine", "both", *"abcdefg"), draws=3))
    first, second = read([before, after(before, models=described("mine", output="labels") + described("both", "late"))])
    assert obstacles(first, second) == []
    assert remarks(first, second) == [
        "draws 3 / default",
        "described networks of before only: a, b, c, d, e, and 2 more",
        "described networks of after only: late",
        "described otherwise: mine",
    ]
    first, second = read([before, after(before, models=first.spec.models, draws=3, draw_seed=1)])
    assert remarks(first, second) == ["draw_seed 0 / 1"]


def test_force_compares_all_the_same_and_says_so_everywhere(before):
    other = after(before, preset="small")
    for kind in ("txt", "md"):
        text = compare([before, other], kind, forced=True)
        assert "Forced: these results do not follow one protocol" in " ".join(text.split())
        assert "preset quick / small" in " ".join(text.split())
        assert "AUC of A to B (forced)" in text
    assert {r["forced"] for r in lines_of(before, other, forced=True).values()} == {"1"}
    assert "orced" not in compare([before, after(before)], forced=True)  # nothing had to be forced


# --- the command --------------------------------------------------------------------------------------------------


def test_one_folder_alone_is_no_comparison(before):
    with pytest.raises(BenchError, match="two results folders"):
        compare([before])


def test_folders_of_one_name_are_told_apart_by_their_paths(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / name / "run", trials(), benchmark())
    text = compare([tmp_path / "a" / "run", tmp_path / "b" / "run"])
    assert f"A: {tmp_path / 'a' / 'run'}," in text


def test_the_command_finds_folders_and_prints(before):
    other = after(before)
    shown = CliRunner().invoke(command, [str(before), str(other)])
    assert shown.exit_code == 0
    assert shown.output == compare([before, other])
    assert CliRunner().invoke(command, [str(before), str(other), "--format", "csv"]).output.startswith("dataset,")
    error = CliRunner().invoke(command, [str(before), str(after(before, preset="small"))]).exception
    assert isinstance(error, BenchError)


def test_lines_fit_a_terminal(before):
    assert max(map(len, compare([before, after(before), before]).splitlines())) <= 100


def test_changed_rows_are_named_and_are_not_taken_for_other_hardware(before):
    other = after(before, trials())
    path = other / "trials.csv"
    path.write_text(path.read_text().replace(",0.5,", ",9.75,", 1))
    text = " ".join(compare([before, other]).split())
    assert "B: after is not what its run wrote: trials.csv was changed afterwards" in text
    assert "made with other hardware" not in text.split("The AUC of A")[0]
    assert all(m["same_seeds"] in ("0", "") for m in lines_of(before, other).values())
