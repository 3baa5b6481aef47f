"""Results folders of one protocol joined into one: which sources are the same, which rows conflict, what is refused."""

import json

import pytest
from click.testing import CliRunner
from test_build import benchmark, table, trials

from bench.cli.commands.merge import command
from bench.core.canonical import digest
from bench.core.errors import BenchError
from bench.core.spec import Recipe, Spec
from bench.execution.preparation import results_folder
from bench.reporting.build import render
from bench.reporting.comparison import compare
from bench.reporting.trial import find
from bench.results.merge import merge
from bench.results.reader import load
from bench.results.run_schema import load_run
from bench.results.writer import save
from bench.store.store import Store
from bench.store.uses import uses


def made_by(machine, rows):
    """Return rows whose networks have the weights that a machine made; an irrelevant model belongs to its source."""
    found = []
    for r in rows:
        owner = "mark" if r["method"] == "mark" else ""
        place = [str(r[c]) for c in ("source_seed", "attack", "suspect_dataset", "suspect_architecture", "replicate")]
        stolen_from = owner if r["attack"] else ""
        found.append(
            r
            | {"source_digest": digest([machine, "source", str(r["source_seed"]), owner])}
            | {"suspect_digest": digest([machine, stolen_from, *place])}
        )
    return found


def of(rows, *methods):
    return [r for r in rows if r["method"] in methods]


def folder(tmp_path, name, rows, machine="abacus", **changes):
    run = benchmark(**changes)
    run["hardware"] = {"cpu": machine, "cores": 2}
    run["spec"]["seeds"] = sorted({r["source_seed"] for r in rows})
    save(tmp_path / name, rows, run)
    return tmp_path / name


def merged(tmp_path, *folders):
    found = merge(folders, "bench merge")
    save(tmp_path / "merged", found.rows, found.run)
    frame, run = load(tmp_path / "merged")
    return found, frame, run


def test_one_seed_of_two_machines_is_two_sources(tmp_path):
    a = folder(tmp_path, "a", made_by("abacus", trials((0, 1))))
    b = folder(tmp_path, "b", made_by("beads", trials((0, 1))), "beads")
    found, frame, run = merged(tmp_path, a, b)
    assert len(frame) == 2 * len(load(a)[0]) and found.united == 0
    assert Spec.from_json(run["spec"]).seeds == (0, 1, 2, 3)
    assert {name: sorted(rows.source_seed.unique()) for name, rows in frame.groupby("origin")} == {
        "a": [0, 1],
        "b": [2, 3],
    }
    assert [o["sources"] for o in run["origins"]] == [
        [["digits", "vgg", 0, 0], ["digits", "vgg", 1, 1]],
        [["digits", "vgg", 2, 0], ["digits", "vgg", 3, 1]],
    ]
    assert found.renumbered == [f"b: source seed {n} of digits, vgg is {n + 2} here" for n in (0, 1)]
    render(tmp_path / "merged")
    assert {r["sources"] for r in table(tmp_path / "merged") if r["auc"] and r["status"] == "complete"} == {"4"}


def test_the_caption_names_every_machine_and_its_sources(tmp_path):
    a = folder(tmp_path, "a", made_by("abacus", trials()))
    b = folder(tmp_path, "b", made_by("beads", trials()), "beads")
    merged(tmp_path, a, b)
    render(tmp_path / "merged")
    text = " ".join((tmp_path / "merged" / "table.txt").read_text().split())
    assert "Merged from a (source seeds 0): Hardware: cores 2, cpu abacus. torch 2.13.0. 2026-11-25." in text
    assert "Merged from b (source seeds 1): Hardware: cores 2, cpu beads." in text


def test_instruction_sets_are_machines_too(tmp_path):
    folders = []
    for name, machine in (("a", "abacus, AVX512"), ("b", "abacus, AVX2")):
        made = folder(tmp_path, name, made_by(machine, trials()))
        save(made, made_by(machine, trials()), load_run(made / "run.json") | {"machines": {machine: 40}})
        folders.append(made)
    _, _, run = merged(tmp_path, *folders)
    assert run["machines"] == {"abacus, AVX2": 40, "abacus, AVX512": 40}
    render(tmp_path / "merged")
    text = " ".join((tmp_path / "merged" / "table.txt").read_text().split())
    assert "Merged from a (source seeds 0): Hardware: abacus, AVX512." in text
    assert "Merged from b (source seeds 1): Hardware: abacus, AVX2." in text


def test_methods_that_judged_one_source_in_two_folders_meet_in_it(tmp_path):
    rows = made_by("abacus", trials())
    a = folder(tmp_path, "a", of(rows, "sac", "noise"), methods=("sac",))
    b = folder(tmp_path, "b", of(rows, "mark", "noise"), methods=("mark",))
    found, frame, run = merged(tmp_path, a, b)
    assert Spec.from_json(run["spec"]).methods == ("sac", "mark")
    assert (len(frame), found.united) == (len(rows), len(of(rows, "noise")))
    assert set(frame.source_seed) == {0}
    assert {name: set(rows.method) for name, rows in frame.groupby("origin")} == {"a": {"sac", "noise"}, "b": {"mark"}}


def test_results_of_another_dataset_with_another_source_architecture_have_a_table_of_their_own(tmp_path):
    changes = {"methods": ("sac",), "baselines": ()}
    a = folder(tmp_path, "a", of(made_by("abacus", trials()), "sac"), **changes)
    rows = [
        r | {"dataset": "letters", "source_architecture": "net", "key": digest([r["key"]])}
        for r in of(made_by("beads", trials()), "sac")
    ]
    b = folder(tmp_path, "b", rows, "beads", datasets=("letters",), sources=("net",), **changes)
    spec = Spec.from_json(merged(tmp_path, a, b)[2]["spec"])
    assert (spec.datasets, spec.sources) == (("digits", "letters"), ("vgg", "net"))
    assert "no rows" not in render(tmp_path / "merged")
    places = {(r["dataset"], r["source_architecture"]) for r in table(tmp_path / "merged")}
    assert places == {("digits", "vgg"), ("letters", "net")}


def test_a_source_is_known_whose_last_row_has_no_score(tmp_path):
    """A row without a score has no digests, and each method ends with a landing place that it does not apply to."""
    nothing = {"source_digest": "", "suspect_digest": "", "source_accuracy": None, "suspect_accuracy": None}
    rows = [r if r["status"] == "done" else r | nothing for r in made_by("abacus", trials((0, 1)))]
    assert rows[-1]["status"] == "not_applicable"
    a = folder(tmp_path, "a", of(rows, "sac", "noise"), methods=("sac",))
    b = folder(tmp_path, "b", of(rows, "mark", "noise"), "the same, renamed", methods=("mark",))
    found, _, run = merged(tmp_path, a, b)
    assert Spec.from_json(run["spec"]).seeds == (0, 1)
    assert found.united == len(of(rows, "noise"))
    again = merge([tmp_path / "merged", a], "")
    assert again.run["spec"]["seeds"] == [0, 1] and again.united == len(of(rows, "sac", "noise"))


def test_a_source_that_one_machine_did_not_make_is_that_of_the_same_seed_of_another_one(tmp_path):
    """A run that was stopped after its first source leaves rows of the second one."""
    nothing = {"source_digest": "", "suspect_digest": "", "source_accuracy": None, "suspect_accuracy": None}
    not_run = dict.fromkeys(("score", "queries", "agreement", "seconds")) | {"access": "", "status": "not_run"}
    stopped = [
        r | nothing | (not_run if r["status"] == "done" else {}) if r["source_seed"] == 1 else r
        for r in made_by("abacus", trials((0, 1)))
    ]
    a = folder(tmp_path, "a", stopped)
    b = folder(tmp_path, "b", made_by("beads", trials((1,))), "beads")
    c = folder(tmp_path, "c", made_by("chalk", trials((1,))), "chalk")
    for pair in ([a, b], [b, a]):
        found = merge(pair, "")
        assert (found.run["spec"]["seeds"], found.renumbered) == ([0, 1], [])
        assert {r["origin"] for r in found.rows if r["status"] == "done" and r["source_seed"] == 1} == {"b"}
        assert {r["status"] for r in found.rows} == {"done", "not_applicable"}
    for several in ([a, b, c], [b, c, a]):
        assert merge(several, "").renumbered == ["c: source seed 1 of digits, vgg is 2 here"]


def test_a_watermark_meets_other_methods_by_the_irrelevant_models(tmp_path):
    rows = made_by("abacus", trials())
    changes = {"baselines": ()}
    a = folder(tmp_path, "a", of(rows, "sac"), methods=("sac",), **changes)
    b = folder(tmp_path, "b", of(rows, "mark"), methods=("mark",), **changes)
    c = folder(tmp_path, "c", of(made_by("beads", trials()), "mark"), methods=("mark",), **changes)
    assert {r["source_seed"] for r in merge([a, b], "").rows} == {0}
    assert {r["source_seed"] for r in merge([a, c], "").rows} == {0, 1}


def test_another_seed_of_the_same_weights_is_the_same_source(tmp_path):
    rows = made_by("abacus", trials())
    a = folder(tmp_path, "a", of(rows, "sac", "noise"), methods=("sac",))
    b = folder(tmp_path, "b", [r | {"source_seed": 7} for r in rows])
    found = merge([a, b], "")
    assert {r["source_seed"] for r in found.rows} == {0}
    assert found.run["origins"][1]["sources"] == [["digits", "vgg", 0, 7]]


def test_other_scores_of_one_source_are_a_conflict_that_is_named(tmp_path):
    rows = made_by("abacus", trials())
    a = folder(tmp_path, "a", rows)
    changed = [dict(r) for r in rows]
    for r in changed:
        if r["method"] == "sac" and r["attack"] == "extract_l":
            r["score"] += 0.25
    b = folder(tmp_path, "b", changed)
    with pytest.raises(BenchError) as caught:
        merge([a, b], "")
    text = str(caught.value)
    assert "digits vgg 0 sac 0 stolen extract_l digits net 0: score 0.5 (a) and 0.75 (b); and 5 more trials" in text
    assert "\n" not in text


def test_other_weights_of_one_suspect_are_a_conflict_even_with_equal_scores(tmp_path):
    rows = made_by("abacus", trials())
    a, changed = folder(tmp_path, "a", rows), [dict(r) for r in rows]
    changed[-1] |= {"status": "done", "score": 1.0, "access": "logits"}
    rows[-1] |= {"status": "done", "score": 1.0, "access": "logits"}
    changed[0]["suspect_digest"] = digest("another")
    with pytest.raises(BenchError, match=r"digits vgg 0 sac 0 irrelevant digits net 0: suspect_digest \w+ \(a\) and"):
        merge([a, folder(tmp_path, "b", changed)], "")


def test_a_score_fills_the_gap_that_another_folder_has(tmp_path):
    rows = made_by("abacus", trials())
    gap = [dict(r) for r in rows]
    gap[3] |= {"status": "failed", "score": None, "queries": None, "access": "", "error": "no memory"}
    a, b = folder(tmp_path, "a", gap), folder(tmp_path, "b", rows)
    for pair in ([a, b], [b, a]):
        found = merge(pair, "")
        assert [r["status"] for r in found.rows] == [r["status"] for r in rows]
        assert found.rows[3]["origin"] == "b" and found.united == len(rows)


def old(folder_, **changes):
    """Make a folder look as before digests: its columns are absent."""
    path = folder_ / "trials.csv"
    frame, run = load(folder_)
    new = ["suspect_digest", "source_digest", "fingerprint_digest", "origin", "draw"]
    frame.drop(columns=new).assign(**changes).convert_dtypes().to_csv(path, index=False)
    (folder_ / "run.json").write_text(
        json.dumps({k: v for k, v in run.items() if k not in ("trials_sha256", "edited")} | {"format": 2})
    )
    return folder_


def test_without_digests_the_same_machine_seed_and_accuracies_are_one_source(tmp_path):
    a = old(folder(tmp_path, "a", of(trials(), "sac", "noise"), methods=("sac",)))
    b = old(folder(tmp_path, "b", trials()))
    assert {r["source_seed"] for r in merge([a, b], "").rows} == {0}
    other = old(folder(tmp_path, "c", trials(), "beads"))
    assert {r["source_seed"] for r in merge([a, other], "").rows} == {0, 1}
    retrained = old(folder(tmp_path, "d", trials()), source_accuracy=0.91)
    assert {r["source_seed"] for r in merge([a, retrained], "").rows} == {0, 1}


def test_merged_results_can_be_merged_reported_and_compared(tmp_path):
    a, b, c = (folder(tmp_path, n, made_by(m, trials()), m) for n, m in (("a", "one"), ("b", "two"), ("c", "three")))
    merged(tmp_path, a, b)
    found = merge([tmp_path / "merged", c], "")
    assert [(o["name"], o["hardware"]["cpu"], o["sources"]) for o in found.run["origins"]] == [
        ("a", "one", [["digits", "vgg", 0, 0]]),
        ("b", "two", [["digits", "vgg", 1, 0]]),
        ("c", "three", [["digits", "vgg", 2, 0]]),
    ]
    assert {r["origin"] for r in found.rows} == {"a", "b", "c"}
    assert render(tmp_path / "merged")
    assert "seeds 0, 1 / 0" in " ".join(compare([tmp_path / "merged", c]).split())


def test_a_trial_of_two_machines_is_shown_in_their_own_folders(tmp_path):
    a = folder(tmp_path, "a", made_by("abacus", trials()))
    b = folder(tmp_path, "b", made_by("beads", trials()), "beads")
    _, frame, _ = merged(tmp_path, a, b)
    with pytest.raises(BenchError, match="of several machines: ask for it in a or b"):
        find(tmp_path / "merged", frame.key[0])


def test_nothing_is_run_into_merged_results(tmp_path):
    a = folder(tmp_path, "a", made_by("abacus", trials()))
    b = folder(tmp_path, "b", made_by("beads", trials()), "beads")
    run = merged(tmp_path, a, b)[2]
    with pytest.raises(BenchError, match="holds merged results"):
        results_folder(Spec.from_json(run["spec"]), str(tmp_path / "merged"))


def test_the_same_folders_give_the_same_bytes_and_the_merged_seeds_do_not_move(tmp_path):
    a = folder(tmp_path, "a", made_by("abacus", trials((0, 3))))
    b = folder(tmp_path, "b", made_by("beads", trials((3, 4))), "beads")
    first, again = merge([a, b], ""), merge([a, b], "")
    assert (first.rows, first.run) == (again.rows, again.run)
    assert [o["sources"] for o in first.run["origins"]] == [
        [["digits", "vgg", 0, 0], ["digits", "vgg", 3, 3]],
        [["digits", "vgg", 5, 3], ["digits", "vgg", 4, 4]],
    ]


# --- how many networks each machine made --------------------------------------------------------------------------

PLAIN, MARKED, SHARED = 1 + 10, 1 + 8, 9 + 4
"""Networks of one source in `trials`: the source and its stolen suspects, those of a watermark, irrelevant models."""


def counted(tmp_path, name, rows, count, machine="abacus", **changes):
    """Return a results folder whose run counted its networks."""
    nothing = {"source_digest": "", "suspect_digest": "", "source_accuracy": None, "suspect_accuracy": None}
    made = folder(tmp_path, name, rows, machine, **changes)
    rows = [r if r["status"] == "done" else r | nothing for r in rows]
    save(made, rows, load_run(made / "run.json") | {"machines": count if isinstance(count, dict) else {machine: count}})
    return made


def test_a_source_that_other_methods_judged_in_another_folder_counts_once_with_its_models(tmp_path):
    rows = made_by("abacus", trials())
    a = counted(tmp_path, "a", of(rows, "sac", "noise"), PLAIN + SHARED, methods=("sac",))
    b = counted(tmp_path, "b", of(rows, "mark"), MARKED + 9, methods=("mark",), baselines=())
    c = counted(tmp_path, "c", of(rows, "sac"), PLAIN + SHARED, methods=("sac",), baselines=())
    assert merge([a, b], "").run["machines"] == {"abacus": PLAIN + MARKED + SHARED}
    assert merge([b, a, c], "").run["machines"] == {"abacus": PLAIN + MARKED + SHARED}


def test_of_folders_that_have_some_sources_in_common_each_counts_once(tmp_path):
    a = counted(tmp_path, "a", of(made_by("abacus", trials((0, 1))), "sac"), 2 * (PLAIN + SHARED))
    b = counted(tmp_path, "b", of(made_by("abacus", trials((1, 2, 3))), "sac"), 3 * (PLAIN + SHARED))
    assert merge([a, b], "").run["machines"] == {"abacus": 4 * (PLAIN + SHARED)}


def test_irrelevant_models_that_sources_of_two_architectures_share_count_once(tmp_path):
    rows = of(made_by("abacus", trials()), "sac")
    own = {"source_architecture": "net", "source_digest": digest("net")}
    other = [r | own | ({"suspect_digest": digest([r["key"]])} if r["attack"] else {}) for r in rows]
    a = counted(tmp_path, "a", rows, PLAIN + SHARED)
    b = counted(tmp_path, "b", other, PLAIN + SHARED, sources=("net",))
    assert merge([a, b], "").run["machines"] == {"abacus": 2 * PLAIN + SHARED}


def test_a_folder_that_was_merged_before_adds_nothing_again(tmp_path):
    a = counted(tmp_path, "a", of(made_by("abacus", trials()), "sac"), PLAIN + SHARED)
    b = counted(tmp_path, "b", of(made_by("beads", trials()), "sac"), PLAIN + SHARED, "beads")
    once = merged(tmp_path, a, b)[2]["machines"]
    assert once == {"abacus": PLAIN + SHARED, "beads": PLAIN + SHARED}
    assert merge([tmp_path / "merged", b], "").run["machines"] == once
    assert merge([b, tmp_path / "merged", a], "").run["machines"] == once


def test_the_networks_of_two_machines_in_one_folder_are_those_that_the_other_folder_lacks(tmp_path):
    first, second = (of(made_by("abacus", trials((seed,))), "sac") for seed in (0, 1))
    both = counted(tmp_path, "both", [*first, *second], {"abacus": PLAIN + SHARED, "beads": PLAIN + SHARED})
    one = counted(tmp_path, "one", second, PLAIN + SHARED, "beads")
    assert merge([both, one], "").run["machines"] == {"abacus": PLAIN + SHARED, "beads": PLAIN + SHARED}


def test_a_folder_that_counted_no_networks_takes_none_from_the_others(tmp_path):
    rows = of(made_by("abacus", trials()), "sac")
    a = counted(tmp_path, "a", rows, {})
    b = counted(tmp_path, "b", rows, PLAIN + SHARED)
    assert merge([a, b], "").run["machines"] == {"abacus": PLAIN + SHARED}


@pytest.mark.parametrize("name", ["+more", "=1", "@2026", "a\tb", " spaces "])
def test_folders_whose_names_a_spreadsheet_could_take_for_a_formula_can_be_merged_again(tmp_path, name):
    a = folder(tmp_path, name, made_by("abacus", trials()))
    b = folder(tmp_path, "b", made_by("beads", trials()), "beads")
    c = folder(tmp_path, "c", made_by("chalk", trials()), "chalk")
    _, frame, run = merged(tmp_path, a, b)
    assert {*frame.origin} == {o["name"] for o in run["origins"]}
    assert len(merge([tmp_path / "merged", c], "").rows) == 3 * len(load(c)[0])


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"preset": "small"}, "preset quick / small"),
        ({"recipe": Recipe(epochs=8, precision="fp32")}, "recipe.epochs 7 / 8"),
        ({"replicates": 4, "copies": 9}, "copies 2 / 9 (and 1 more)"),
        ({"split_seed": 1}, "split_seed 0 / 1"),
        ({"draws": 3}, "draws 0 / 3"),
        ({"draw_seed": 7}, "draw_seed 0 / 7"),
    ],
)
def test_other_protocols_are_refused_with_the_first_difference(tmp_path, changes, reason):
    a = folder(tmp_path, "a", made_by("abacus", trials()))
    b = folder(tmp_path, "b", made_by("beads", trials()), **changes)
    with pytest.raises(BenchError) as caught:
        merge([a, b], "")
    assert str(caught.value) == f"a and b do not follow one protocol: {reason}. Nothing was written"


def test_results_about_other_described_networks_are_refused(tmp_path):
    """The number of a described network is its place in its own file."""
    folders = [
        folder(tmp_path, name, made_by("abacus", trials()), models=({"name": f"suspect of {name}"},)) for name in "ab"
    ]
    with pytest.raises(BenchError, match="a and b describe other networks: give bench run one file that describes all"):
        merge(folders, "")


def test_other_versions_of_methods_are_refused(tmp_path):
    a = folder(tmp_path, "a", made_by("abacus", trials()))
    rows = [r | {"method_version": 1} if r["method"] == "sac" else r for r in made_by("beads", trials())]
    b = folder(tmp_path, "b", rows)
    run = json.loads((b / "run.json").read_text())
    run["components"]["method"]["sac"]["version"] = 1
    (b / "run.json").write_text(json.dumps(run))
    with pytest.raises(BenchError, match="version of method sac 3 / 1"):
        merge([a, b], "")


def refused(arguments, reason):
    done = CliRunner().invoke(command, [str(a) for a in arguments])
    assert isinstance(done.exception, BenchError), done.output
    assert reason in str(done.exception) and "\n" not in str(done.exception)


def test_the_command_writes_nothing_where_it_refuses(tmp_path):
    a = folder(tmp_path, "a", made_by("abacus", trials()))
    b = folder(tmp_path, "b", made_by("beads", trials()), preset="small")
    refused([a, b, "--out", tmp_path / "new"], "preset quick / small")
    refused([a, a, "--out", tmp_path / "new"], "two different results folders")
    refused([a, "--out", tmp_path / "new"], "two different results folders")
    (b / "trials.csv").write_text("dataset\nx\n")
    refused([a, b, "--out", tmp_path / "new"], "lacks the columns")
    assert not (tmp_path / "new").exists()
    refused([a, b, "--out", a], "choose another folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_rows_that_were_edited_are_refused(tmp_path):
    a = folder(tmp_path, "a", made_by("abacus", trials()))
    b = folder(tmp_path, "b", made_by("beads", trials()))
    text = (b / "trials.csv").read_text()
    (b / "trials.csv").write_text(text.replace(",4.0,", ",5.0,", 1))
    refused([a, b, "--out", tmp_path / "new"], "trials.csv is not what the run wrote")


def test_the_command_writes_a_results_folder(tmp_path):
    a = folder(tmp_path, "a", made_by("abacus", trials()))
    b = folder(tmp_path, "b", made_by("beads", trials()), "beads")
    done = CliRunner().invoke(command, [str(a), str(b), "--out", str(tmp_path / "new")])
    assert done.exit_code == 0, done.exception
    assert "b: source seed 0 of digits, vgg is 1 here" in done.output
    assert {"index.html", "table.txt"} <= {p.name for p in (tmp_path / "new").iterdir()}


def test_the_named_store_remembers_the_merged_results(tmp_path):
    a = folder(tmp_path, "a", made_by("abacus", trials()))
    b = folder(tmp_path, "b", made_by("beads", trials()), "beads")
    store = Store(tmp_path / "store")
    store.save(load(a)[0].key[0], "score", {}, {}, {})
    words = [str(a), str(b), "--out", str(tmp_path / "new"), "--store", str(store.root)]
    assert CliRunner().invoke(command, words).exit_code == 0
    assert [use.path for use in uses(store).values()] == [str(tmp_path / "new")]


def test_a_store_that_has_no_place_stops_no_merging(tmp_path, monkeypatch):
    """A user without a home folder got an error after the results were written."""
    a = folder(tmp_path, "a", made_by("abacus", trials()))
    b = folder(tmp_path, "b", made_by("beads", trials()), "beads")

    def homeless(*arguments):
        raise BenchError("No home folder is known for this user")

    monkeypatch.setattr("bench.store.folders.user_folder", homeless)
    done = CliRunner().invoke(command, [str(a), str(b), "--out", str(tmp_path / "new")])
    assert done.exit_code == 0, done.exception
    assert f"results: {tmp_path / 'new'}" in done.output
