"""`bench show`: one trial, from the command line to its score, whatever of it is stored."""

import csv
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from test_build import benchmark, line, trials

from bench.cli.commands.show import command
from bench.core.canonical import seed_of
from bench.core.errors import BenchError
from bench.reporting.trial import describe, find
from bench.results.writer import save
from bench.store.maintenance import with_dependencies
from bench.store.store import Store
from bench.testing import toy_plugins

TOY = [
    *("--plugin", toy_plugins.__file__, "--datasets", "toy", "--architectures", "toy_net"),
    *("--attacks", "toy_tune,toy_copy", "--methods", "toy_match", "--no-baselines", "--preset", "smoke"),
    *("--set", "recipe.epochs=2", "--budgets", "7", "--workers", "0"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A store and the results of a small run, made by the command line."""
    place = tmp_path_factory.mktemp("finished")
    words = [sys.executable, "-m", "bench", "run", *TOY, "--store", place / "store", "--out", place / "toy"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place


def rows(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def a_row(folder, **what):
    return next(r for r in rows(folder) if all(r[k] == v for k, v in what.items()))


def show(finished, key, *more, store=None):
    words = [str(finished / "toy"), "--trial", key, "--store", str(store or finished / "store"), *more]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.exception
    return result


def part(text, title):
    """Return the lines below a title, up to the next blank one."""
    (found,) = [p for p in text.split("\n\n") if p.startswith(title)]
    return found.splitlines()[1:]


def test_a_trial_is_told_from_the_command_line_to_its_score(finished):
    row = a_row(finished / "toy", attack="toy_copy", budget="50")
    text = show(finished, row["key"][:12]).output
    assert text.startswith(f"Trial {row['key']}\n")
    assert "toy_copy made toy_net 0 from the source toy_net 0 of toy; toy_match judged it: score" in text
    assert any(n.split()[:3] == ["command", "bench", "run"] for n in part(text, "run"))
    shown = dict(n.split(None, 1) for n in part(text, "trial"))
    assert float(shown["score"]) == pytest.approx(float(row["score"]))
    assert "error" not in shown and "variant" not in shown  # which are empty
    names = [n[2:].split(None, 1)[0] for n in part(text, "parameters") if n[2] != " "]
    assert names == ["recipe", "dataset", "architecture", "attack", "method"]
    assert max(len(n) for n in text.splitlines() if not n.startswith(("  command", "artifacts"))) <= 100


def test_artifacts_stand_in_the_order_in_which_they_were_made_with_seeds_and_inputs(finished):
    row = a_row(finished / "toy", attack="toy_tune", budget="50")
    lines = part(show(finished, row["key"]).output, "artifacts")
    made = [n.split()[0] for n in lines if not n.startswith("   ")]
    store, whole = Store(finished / "store"), " ".join(" ".join(lines).split())
    keys = {key[:16]: key for key in with_dependencies(store, [row["key"]])}
    assert set(made) == set(keys) and len(made) == 5 and made[-1] == row["key"][:16]
    for n, short in enumerate(made):
        inputs = store.record(keys[short])["made"]["inputs"]
        assert {key[:16] for key in inputs.values()} <= set(made[:n])
        assert f"seed {seed_of(keys[short])}" in whole
        assert all(f"{role} {key[:16]}" in whole for role, key in inputs.items())


def test_an_irrelevant_model_was_trained_alone(finished):
    text = show(finished, a_row(finished / "toy", suspect_kind="irrelevant", budget="50")["key"]).output
    assert "toy_net 0 was trained alone on toy; the source is toy_net 0 of toy; toy_match judged it" in text


def test_the_queries_of_a_trial_stand_among_the_parameters(finished):
    row = a_row(finished / "toy", attack="toy_copy", budget="7")
    (line,) = [n for n in part(show(finished, row["key"]).output, "parameters") if "method toy_match" in n]
    assert " 7" in line


def test_what_is_not_stored_is_told_from_the_plan(finished, tmp_path):
    row = a_row(finished / "toy", attack="toy_copy", budget="50")
    text = show(finished, row["key"], "--plugin", toy_plugins.__file__, store=tmp_path / "none").output
    assert "\n".join(part(text, "artifacts")).count("not in this store") == 5
    assert "suspect " in text and "source " in text
    assert not (tmp_path / "none").exists()


def test_without_the_plugin_the_rest_is_told_and_what_is_missing(finished, tmp_path):
    row = a_row(finished / "toy", attack="toy_copy", budget="50")
    result = show(finished, row["key"], store=tmp_path / "none")
    assert "the inputs of the trial are unknown" in result.stderr
    assert "Name its run's --plugin and --data, if it had any" in result.stderr
    assert f"{row['key'][:16]}  score" in result.stdout
    assert part(result.stdout, "log") == ["  This store has no log of them."]


def test_the_log_of_every_task_is_shown_and_cannot_command_the_terminal(finished, tmp_path):
    shutil.copytree(finished / "store", tmp_path / "store")
    row = a_row(finished / "toy", attack="toy_copy", budget="50")
    store = Store(tmp_path / "store")
    store.log(row["key"]).parent.mkdir(exist_ok=True)
    store.log(row["key"]).write_text("\n".join([*(f"line {n}" for n in range(100)), "\x1b[2Jgone"]))
    text = show(finished, row["key"], store=tmp_path / "store").output
    assert "the last 40 of 101 lines" in text
    assert "  line 99\n   [2Jgone\n" in text
    assert "  line 60\n" not in text
    assert "None of these tasks printed anything" in show(finished, row["key"]).output


def test_a_failed_trial_is_shown_with_its_error(tmp_path):
    made = trials()
    lost = next(r for r in made if r["attack"] == "extract_l")
    lost |= dict.fromkeys(("score", "queries", "agreement", "seconds")) | {"access": "", "status": "failed"}
    lost["error"] = "score sac: no luck"
    save(tmp_path / "failed", made, benchmark())
    text = describe(find(tmp_path / "failed", lost["key"]), Store(tmp_path / "none"), {})
    assert "sac judged it: failed" in text
    assert "score sac: no luck" in text
    assert "not in this store" in text


def test_a_suspect_that_is_to_be_judged_was_not_trained_alone(tmp_path):
    row = line(suspect_kind="undecided", source_model="mine", suspect_model="theirs", score=0.5)
    save(tmp_path / "judged", [row], benchmark(attacks=(), models=({"name": "mine"},)))
    text = describe(find(tmp_path / "judged", row["key"]), Store(tmp_path / "none"), {})
    assert "theirs is to be judged; the source is mine; sac judged it: score 0.5" in text
    assert "trained alone" not in text
    assert dict(n.split(None, 1) for n in part(text, "trial"))["suspect_model"] == "theirs"


def test_a_trial_of_merged_results_is_shown_with_the_run_that_made_it(tmp_path):
    made = trials((0, 3))
    for row in made:
        row["origin"] = "one" if row["source_seed"] == 0 else "two"
    run = benchmark(seeds=(0, 3)) | {"command": "bench merge one two --out both"}
    run["origins"] = [
        {"name": name, "sources": [["digits", "vgg", here, 0]], "command": f"bench run --out {name}"}
        for name, here in (("one", 0), ("two", 3))
    ]
    save(tmp_path / "both", made, run)
    for origin, seed in (("one", "0"), ("two", "3, made with 0")):
        key = next(r["key"] for r in made if r["origin"] == origin)
        text = describe(find(tmp_path / "both", key), Store(tmp_path / "none"), {})
        assert f"bench run --out {origin}" in text and "bench merge" not in text
        (shown,) = [n for n in part(text, "seeds") if "source seed" in n]
        assert shown.split(None, 2)[2] == seed


def test_a_large_seed_is_shown_with_all_its_digits(tmp_path):
    row = line(source_seed=202611301200)
    save(tmp_path / "large", [row], benchmark(seeds=(202611301200,)))
    text = describe(find(tmp_path / "large", row["key"]), Store(tmp_path / "none"), {})
    assert "the source is vgg 202611301200 of digits" in text
    assert dict(n.split(None, 1) for n in part(text, "trial"))["source_seed"] == "202611301200"
    (shown,) = [n for n in part(text, "seeds") if "source seed" in n]
    assert shown.split() == ["source", "seed", "202611301200"]


@pytest.mark.parametrize(("key", "message"), [("", "begins with"), ("zz", "begins with 'zz'"), ("q" * 64, "begins")])
def test_a_key_that_is_none_is_refused_with_the_place_where_keys_stand(finished, key, message):
    with pytest.raises(BenchError, match=message) as caught:
        find(finished / "toy", key)
    assert str(finished / "toy" / "trials.csv") in str(caught.value)


def test_a_key_that_is_too_short_is_refused(finished):
    first = [r["key"][0] for r in rows(finished / "toy")]
    often = max(set(first), key=first.count)
    with pytest.raises(BenchError, match=f"{first.count(often)} trials of .* begin with '{often}': type more of it"):
        find(finished / "toy", often)


def test_a_trial_of_changed_rows_is_shown_as_that(finished, tmp_path):
    folder = tmp_path / "toy"
    shutil.copytree(finished / "toy", folder)
    path, row = folder / "trials.csv", a_row(finished / "toy", attack="toy_copy", budget="50")
    path.write_text(path.read_text().replace(row["score"], "0.123", 1))
    shown = CliRunner().invoke(command, [str(folder), "--trial", row["key"], "--store", str(finished / "store")]).output
    assert shown.splitlines()[1] == f"of {folder}, whose trials.csv was changed: it is not what the run wrote"
