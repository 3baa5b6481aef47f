"""Sources are replicates: AUCs within each source and draw, then means; what counts as one model; networks and ties."""

import numpy as np
import pytest
from test_build import benchmark, charts, line, trials  # noqa: F401  a fixture

from bench.analysis.accuracies import accuracies
from bench.analysis.cells import cells
from bench.analysis.networks import Networks, images_tested
from bench.core.kinds import CellStatus
from bench.reporting.build import write
from bench.reporting.tables.auc import auc_table, variants_table
from bench.reporting.tables.notes import drawn
from bench.results.reader import load
from bench.results.writer import save
from bench.stats.auc import auc
from bench.stats.differences import difference_over_sources
from bench.stats.intervals import estimate_auc, source_auc
from bench.stats.rates import NotReported, tpr_at_fpr

SEEDS = (0, 1, 2, 3, 4)
ONE = {"methods": ("sac",), "baselines": (), "attacks": ("extract_l",)}
LOST = {"status": "failed", "score": None, "error": "no", "queries": None, "agreement": None}


def scored(seeds=SEEDS, draws=1, methods=("sac",), irrelevant=4, stolen=2, shift=0.8):
    """Make rows with random scores: per source, architecture and draw so many irrelevant and stolen models."""
    random = np.random.default_rng(0)
    rows = []
    for method in methods:
        for seed in seeds:
            for draw in range(draws):
                one = {"method": method, "source_seed": seed, "draw": draw}
                for architecture in ("net", "res"):
                    rows += [line(architecture=architecture, replicate=n, score=random.normal(), **one)
                             for n in range(irrelevant)]  # fmt: skip
                    rows += [line(attack="extract_l", architecture=architecture, replicate=n,
                                  score=random.normal() + shift, **one) for n in range(stolen)]  # fmt: skip
    return rows


@pytest.fixture
def read(tmp_path):
    """Return a function that writes rows and reads them; `own` gives every suspect of a source a digest of its own."""

    def made(rows, own=True, **changes):
        for n, row in enumerate(rows):
            row["key"] = f"{n:064x}" if row["status"] != "not_applicable" else ""
        save(tmp_path, rows, benchmark(**ONE | changes))
        frame, run = load(tmp_path)
        names = frame.source_seed.astype(str) + frame.attack + frame.suspect_architecture + frame.replicate.astype(str)
        return frame.assign(suspect_digest=names if own else ""), run

    return made


def by_hand(frame, method="sac", only=None):
    """Compute the AUC of each source, the mean over the draws of its fingerprint."""
    aucs = []
    rows = frame[(frame.method == method) & (frame.status == "done")]
    for _, source in rows.groupby("source_seed"):
        draws = []
        for _, one in source.groupby("draw"):
            stolen = one[(one.suspect_kind == "stolen") & ((only is None) | (one.variant == only))]
            draws.append(auc(stolen.score, one[one.suspect_kind == "irrelevant"].score))
        aucs.append(np.mean(draws))
    return aucs


# --- means over draws and sources ---------------------------------------------------------------------------------


@pytest.mark.parametrize("draws", [1, 3])
def test_the_auc_is_the_mean_over_sources_of_the_mean_over_draws(read, draws):
    frame, run = read(scored(draws=draws), seeds=SEEDS)
    (found,) = cells(frame, run)
    assert found.figure.by_source == pytest.approx(by_hand(frame))
    assert found.figure.auc == pytest.approx(np.mean(by_hand(frame)))
    # a model counts once, however many draws judged it
    assert (found.figure.stolen, found.figure.irrelevant) == (5 * 4, 5 * 8)
    assert (found.stolen_planned, found.irrelevant_planned) == (5 * 4, 5 * 8)
    assert found.drawn == (5, 4, 8, draws)


def test_the_interval_is_that_of_the_sources_with_the_different_models(read):
    frame, run = read(scored(), seeds=SEEDS)
    (found,) = cells(frame, run)
    sources = []
    for _, rows in frame.groupby("source_seed"):
        kinds = [rows[rows.suspect_kind == kind].score.to_numpy() for kind in ("stolen", "irrelevant")]
        sources.append(source_auc(*kinds))
    assert found.figure == estimate_auc(sources)
    # without digests irrelevant models of equal architecture and replicate are those that all sources shared
    frame, run = read(scored(), own=False, seeds=SEEDS)
    (shared,) = cells(frame, run)
    assert shared.figure == estimate_auc(sources, irrelevant=8)
    assert shared.figure.high - shared.figure.low > found.figure.high - found.figure.low


def test_a_draw_without_scores_is_left_out_and_a_model_without_one_in_all_draws(read):
    rows = scored(seeds=(0, 1), draws=2)
    gone = {"status": "failed", "score": None, "error": "score sac: no", "queries": None, "agreement": None}
    for row in rows:
        if (row["source_seed"], row["draw"]) == (0, 1):
            row |= gone
    lost = next(r for r in rows if r["source_seed"] == 1 and r["draw"] == 0 and r["attack"])
    lost |= gone
    frame, run = read(rows, seeds=(0, 1))
    (found,) = cells(frame, run)
    frame = frame[~((frame.source_seed == 1) & (frame.attack != "") & (frame.suspect_architecture == "net")
                    & (frame.replicate == 0))]  # fmt: skip
    assert found.figure.by_source == pytest.approx(by_hand(frame))
    assert (found.figure.stolen, found.status) == (7, CellStatus.INCOMPLETE)


def test_equal_stolen_models_of_a_source_count_once_and_the_table_says_so(read):
    frame, run = read(scored(stolen=3), seeds=SEEDS)
    twins = (frame.suspect_kind == "stolen") & (frame.suspect_architecture == "net")
    frame.loc[twins, "suspect_digest"] = "twin of " + frame.source_seed.astype(str)
    frame.loc[twins, "score"] = 5.0
    (found,) = cells(frame, run)
    assert (found.figure.stolen, found.equal) == (5 * 4, 5 * 2)
    once = frame[~(twins & (frame.replicate > 0))]
    assert found.figure.by_source == pytest.approx(by_hand(once))
    assert found.figure.by_source != pytest.approx(by_hand(frame))
    assert "Stolen suspects of one source whose weights are equal count once: extract_l (10 of 30 left out)." in (
        auc_table([found], run).notes
    )
    extracted = next(a for a in accuracies(frame, run) if (a.model, a.suspect_architecture) == ("extract_l", "net"))
    assert extracted.summary.n == 5


def test_notes_count_the_equal_suspects_of_the_method_with_most_scores_and_name_them_where_others_are_lost(read):
    rows = scored(seeds=(0,), stolen=3, methods=("sac", "noise"))
    for row in rows:
        if row["attack"] and row["method"] == "noise" and row["replicate"] == 2:
            row |= LOST
    frame, run = read(rows, seeds=(0,), baselines=("noise",))
    twins = (frame.suspect_kind == "stolen") & (frame.suspect_architecture == "net")
    frame.loc[twins, "suspect_digest"] = "twin"
    found = cells(frame, run)
    assert [(c.equal, c.figure.stolen) for c in found] == [(2, 4), (1, 3)]
    notes = auc_table(found, run).notes
    assert any("count once: extract_l (2 of 6 left out)." in n for n in notes)
    left = "extract_l from 3 of 6 stolen, 8 of 8 irrelevant models (2 failed, 1 left out as equal)."
    assert f"*: incomplete: noise: {left}" in notes


def test_described_irrelevant_models_that_sources_share_count_once_among_the_planned_ones(read):
    frame, run = read(scored(seeds=(0, 1)), seeds=(0, 1))
    names = frame.suspect_architecture + frame.replicate.astype(str)
    shared = frame.suspect_kind == "irrelevant"
    frame = frame.assign(source_model="mine", suspect_model=names.where(shared, frame.suspect_digest))
    frame["suspect_digest"] = names.where(shared, frame.suspect_digest)
    (found,) = cells(frame, run)
    assert (found.figure.stolen, found.figure.irrelevant) == (2 * 4, 8)
    assert (found.stolen_planned, found.irrelevant_planned) == (2 * 4, 8)
    assert "8 irrelevant models of digits (shared)" in drawn([found])
    frame.loc[shared & (frame.suspect_architecture == "res"), "suspect_model"] = ""  # those that bench trained
    assert cells(frame, run)[0].irrelevant_planned == 4 + 2 * 4


def test_negatives_in_the_architecture_of_a_described_source_are_not_those_that_bench_adds(read):
    rows = [*scored(seeds=(0,)), *(line(architecture="vgg", replicate=n, score=0.0) for n in range(3))]
    frame, run = read(rows, seeds=(0,))
    assert cells(frame, run)[0].suspects_only.irrelevant == 8
    run["spec"]["models"] = [{"name": "mine", "role": "source"}]
    assert cells(frame, run)[0].suspects_only is None


def test_the_table_shows_what_a_method_warned_of_with_the_number_of_sources(read):
    rows = scored(methods=("sac", "noise"), draws=2)
    rows += [{**row, "attack": "finetune_a", "attack_version": 2} for row in rows if row["attack"]]
    for row in rows:
        row["note"] = "passed=0.3;suspect.warning=of the attack;tau=0.1"
        if row["method"] == "sac" and row["source_seed"] in (1, 4) and row["draw"] == 1:
            row["note"] += ";warning=tau 0.95 is not reached"
    frame, run = read(rows, seeds=SEEDS, baselines=("noise",), attacks=("extract_l", "finetune_a"))
    found = cells(frame, run)
    assert [c.warnings for c in found] == 2 * [{"tau 0.95 is not reached": {1, 4}}] + 2 * [{}]
    warned = [note for note in auc_table(found, run).notes if "tau" in note or "of the attack" in note]
    assert warned == ["sac: tau 0.95 is not reached (2 of 5 sources)."]
    assert [c.warnings for c in cells(frame.assign(note=""), run)] == 4 * [{}]


def test_a_network_counts_once_though_a_method_has_no_score_for_it(read):
    rows = scored(methods=("sac", "noise"))
    for row in rows:
        if row["method"] == "noise":
            row |= {"status": "failed", "score": None, "error": "no", "queries": None, "agreement": None}
    frame, run = read(rows, seeds=SEEDS, baselines=("noise",))
    frame.loc[frame.method == "noise", "suspect_digest"] = ""  # a digest comes with a score
    assert {a.summary.n for a in accuracies(frame, run) if a.model == "extract_l"} == {5 * 2}
    assert {a.summary.n for a in accuracies(frame, run) if a.model == "irrelevant"} == {5 * 4}


def test_an_irrelevant_model_counts_once_though_a_watermark_could_not_be_embedded(read):
    rows = scored(methods=("sac", "mark"))
    for row in rows:
        if row["method"] == "mark":
            row |= {"status": "blocked", "score": None, "error": "no", "queries": None, "agreement": None}
    frame, run = read(rows, seeds=SEEDS, methods=("sac", "mark"))
    frame.loc[frame.method == "mark", "suspect_digest"] = ""
    counts = {(a.owner, a.model, a.suspect_architecture): a.summary.n for a in accuracies(frame, run)}
    assert counts["plain", "irrelevant", "net"] == counts["plain", "irrelevant", "res"] == 5 * 4
    assert counts["plain", "extract_l", "net"] == counts["mark", "extract_l", "net"] == 5 * 2
    assert not any(model == "irrelevant" for owner, model, _ in counts if owner == "mark")


# --- differences, rates, variants ---------------------------------------------------------------------------------


def test_methods_are_compared_by_source_on_the_models_that_both_judged(read):
    rows = scored(methods=("sac", "noise"), draws=2)
    for row in rows:
        if row["method"] == "noise" and row["source_seed"] == 2 and row["replicate"] == 0:
            row |= {"status": "failed", "score": None, "error": "no", "queries": None, "agreement": None}
    frame, run = read(rows, seeds=SEEDS, baselines=("noise",))
    found = cells(frame, run)[0].baselines
    both = frame[~((frame.source_seed == 2) & (frame.replicate == 0))]
    expected = difference_over_sources(by_hand(both), by_hand(both, "noise"))
    assert (found.difference, found.p, found.sources) == pytest.approx((expected.difference, expected.greater, 5))


def test_a_baseline_that_was_never_planned_in_a_table_is_no_rival_there(read):
    """After a merge, a folder has the baselines of all its runs, and each may be of another dataset or attack."""
    frame, run = read(scored(methods=("sac", "noise")), seeds=SEEDS, baselines=("noise",))
    (expected,) = (c.baselines for c in cells(frame, run) if c.method == "sac")
    run["spec"]["baselines"].append("mark")
    assert next(c for c in cells(frame, run) if c.method == "sac").baselines == expected
    assert expected.baselines == ("noise",)


def test_equal_methods_are_not_better_and_do_not_count_as_tests(read):
    """A cell whose AUCs equal those of a baseline at every source cannot be found better, and costs others nothing."""
    rows = scored(methods=("sac", "mark", "noise"), shift=0.0)
    for row in rows:
        if row["attack"] and row["method"] == "mark":
            row["score"] = 9.0  # perfect at every source, unlike noise
    for row, noise in zip(rows[: len(rows) // 3], rows[-len(rows) // 3 :], strict=True):
        row["score"] = noise["score"]  # sac is noise
    frame, run = read(rows, seeds=SEEDS, methods=("sac", "mark"), baselines=("noise",))
    equal, better, _ = (c.baselines for c in cells(frame, run))
    assert (equal.difference, equal.p, equal.adjusted, equal.beaten) == (0.0, 1.0, 1.0, False)
    assert better.p == better.adjusted == 1 / 2**5 and better.beaten  # not twice that: one of two tests counts


def test_a_threshold_belongs_to_one_source_and_one_draw(read):
    frame, run = read(scored(draws=2, irrelevant=20, stolen=4), seeds=SEEDS)
    (found,) = cells(frame, run)
    shares = []
    for _, rows in frame.groupby(["source_seed", "draw"]):
        kinds = [rows[rows.suspect_kind == kind].score.to_numpy() for kind in ("stolen", "irrelevant")]
        shares.append(tpr_at_fpr(*kinds, 0.05).rate)
    assert found.hits[0.05].rate == pytest.approx(np.mean(shares))
    assert found.hits[0.05].of == 5 * 8
    assert found.hits[0.05].low < found.hits[0.05].rate < found.hits[0.05].high
    assert found.accused[0.05].of == 5 * 20  # half of each source's own
    assert found.hits[0.01] == NotReported(needs=100, has=40)
    # the 100 models of all sources together are not pooled: one source has 20
    assert found.accused[0.01] == NotReported(needs=198, has=40)


def test_a_suspect_that_one_of_two_draws_finds_is_found_by_half(read):
    """One of 20 irrelevant models may be accused, so 18 is the threshold: two suspects exceed it, and then one does.

    That is 1.5 of 4 suspects. P(1 or more of 4 | low) = 0.025, and P(3 or more of 4 | high) = 0.975.
    """
    rows = []
    for draw, scores in enumerate(((19.5, 18.5, 3.0, 3.0), (18.5, 18.0, 3.0, 3.0))):
        rows += [line(architecture="net", replicate=n, score=float(n), draw=draw) for n in range(20)]
        rows += [line(attack="extract_l", replicate=n, score=s, draw=draw) for n, s in enumerate(scores)]
    (found,) = cells(*read(rows, seeds=(0,)))
    rate = found.hits[0.05]
    assert (rate.rate, rate.hits, rate.of) == (3 / 8, 1.5, 4)
    assert rate.low == pytest.approx(1 - 0.975 ** (1 / 4))
    assert 4 * rate.high**3 - 3 * rate.high**4 == pytest.approx(0.975)


def test_a_source_counts_once_however_many_of_its_draws_have_scores(read):
    """Five draws of source 0 find all of its four suspects, the only one of source 1 none: 4 of 8, not 20 of 24."""
    rows = scored(seeds=(0, 1), draws=5, irrelevant=20)
    for row in rows:
        if row["source_seed"]:
            row |= LOST if row["draw"] else {"score": -9.0 if row["attack"] else 0.0}  # ties accuse nobody
        elif row["attack"]:
            row["score"] = 9.0
    (found,) = cells(*read(rows, seeds=(0, 1)))
    assert found.figure.auc == 0.5
    assert (found.hits[0.05].rate, found.hits[0.05].hits, found.hits[0.05].of) == (0.5, 4, 8)
    apart = [cells(*read([r for r in rows if r["source_seed"] == s], seeds=(s,)))[0].accused[0.05] for s in (0, 1)]
    assert found.accused[0.05].rate == pytest.approx(sum(one.rate for one in apart) / 2)
    assert apart[0].rate > apart[1].rate == 0 and found.accused[0.05].of == 2 * 20


def test_false_accusations_are_of_all_sources_whichever_attack_comes_first(read):
    """After a merge, an attack may have been run for some of the sources only."""
    rows = scored(irrelevant=20)
    rows += [r | {"attack": "finetune_a", "attack_version": 2} for r in rows if r["attack"] and r["source_seed"] < 2]
    found = [
        {c.attack: c.accused[0.05] for c in cells(*read(rows, seeds=SEEDS, attacks=order))}
        for order in (("finetune_a", "extract_l"), ("extract_l", "finetune_a"))
    ]
    assert found[0] == found[1]
    assert found[0]["finetune_a"] == found[0]["extract_l"] and found[0]["extract_l"].of == 5 * 20


def test_scores_of_sources_on_other_scales_change_no_rate(read):
    frame, run = read(scored(irrelevant=20), seeds=SEEDS)
    (before,) = cells(frame, run)
    (after,) = cells(frame.assign(score=frame.score * 2 + 100 * frame.source_seed), run)
    assert (after.hits, after.accused, after.figure) == (before.hits, before.accused, before.figure)


def test_variants_of_an_attack_have_aucs_of_their_own(read):
    rows = scored(stolen=3)
    for row in rows:
        row["variant"] = f"ratio=0.{row['replicate'] + 1}" if row["attack"] else ""
    frame, run = read(rows, seeds=SEEDS)
    (found,) = cells(frame, run)
    assert list(found.by_variant) == ["ratio=0.1", "ratio=0.2", "ratio=0.3"]
    for variant, figure in found.by_variant.items():
        assert figure.by_source == pytest.approx(by_hand(frame, only=variant))
        assert (figure.stolen, figure.irrelevant) == (10, 40)
    assert variants_table([found]).header == ["method", *(f"extract_l\n{v}" for v in found.by_variant)]
    assert variants_table(cells(*read(scored(), seeds=SEEDS))) is None


def test_the_report_has_a_file_of_variants_where_there_are_some(tmp_path):
    rows = trials((0, 1))
    for row in rows:
        row["variant"] = f"ratio=0.{row['replicate'] + 1}" if row["attack"] == "finetune_a" else ""
    write(tmp_path, rows, benchmark(seeds=(0, 1)))
    lines = (tmp_path / "variants.csv").read_text().splitlines()
    assert lines[0] == "dataset,source_architecture,method,attack,variant,auc,low,high,stolen,irrelevant,sources"
    assert lines[1].startswith("digits,vgg,sac,finetune_a,ratio=0.1,1.0,") and lines[1].endswith(",2,9,2")
    assert "AUC by variant" in (tmp_path / "table.md").read_text()
    assert "finetune_a" in (tmp_path / "index.html").read_text().split("AUC by variant", 1)[1]
    write(tmp_path, trials(), benchmark())
    assert not (tmp_path / "variants.csv").exists()


# --- networks that did not learn, and ties ------------------------------------------------------------------------


def accurate(rows, seed, accuracy, attack="extract_l", architecture="net", replicate=0):
    """Set the accuracy of a network in all its rows."""
    for row in rows:
        if (row["source_seed"], row["attack"], row["suspect_architecture"], row["replicate"]) == (
            seed, attack, architecture, replicate
        ):  # fmt: skip
            row["suspect_accuracy"] = accuracy
    return rows


def test_the_number_of_test_images_is_read_off_the_accuracies():
    assert images_tested(np.array([128 / 149, 253 / 298, 1.0, 0.0])) == 298
    assert images_tested(np.arange(1, 4999) / 5000) == 5000
    assert images_tested(np.array([0.5, 0.25])) == images_tested(np.array([])) == 100
    assert images_tested(np.array([1 / 999_983, 1 / 3])) == 1_000_000


@pytest.mark.parametrize(
    ("accuracy", "failed"), [(0.1, True), (0.12, True), (0.7, True), (0.774, True), (0.776, False), (0.83, False)]
)
def test_networks_near_chance_or_far_below_their_peers_did_not_learn(read, accuracy, failed):
    """All are shares of 500 images. The peers' median is 0.854: 5 sqrt(0.854 * 0.146 / 500) less is 0.77504."""
    rows = scored()
    for n, row in enumerate(rows):
        row["suspect_accuracy"] = 0.85 + n % 5 / 500
    frame, run = read(accurate(rows, 3, accuracy), seeds=SEEDS)
    (found,) = cells(frame, run)
    assert [n.name for n in found.unlearned] == ["extract_l net 0 of source 3"] * failed
    table = auc_table([found], run)
    assert ("‡" in table.rows[0][1][0].text) is failed
    assert (
        any(n.startswith("‡: with networks that did not learn: extract_l net 0 of source 3 (") for n in table.notes)
        is failed
    )
    counts = {(a.model, a.suspect_architecture): a.unlearned for a in accuracies(frame, run)}
    assert counts.pop(("extract_l", "net")) == failed and not any(counts.values())


def test_a_network_is_named_with_all_digits_of_its_seed(read):
    seeds = (20261129, 20261130)
    frame, run = read(accurate(scored(seeds), 20261130, 0.1), seeds=seeds)
    (found,) = cells(frame, run)
    assert [n.name for n in found.unlearned] == ["extract_l net 0 of source 20261130"]


@pytest.mark.parametrize(
    ("accuracy", "failed"), [(0.9, True), (0.92, True), (0.928, True), (0.929, False), (0.98, False)]
)
def test_of_unequal_classes_the_share_of_the_largest_is_chance(read, accuracy, failed):
    """A network that names one class for every image is right that often, and learned nothing.

    Of 1000 images three standard deviations above it are 0.9 + 3 sqrt(0.9 * 0.1 / 1000) = 0.92846.
    """
    rows = scored(methods=("sac", "noise"))
    for n, row in enumerate(rows):
        row |= {"suspect_accuracy": accuracy, "source_accuracy": 0.999}
        row["note"] = "converged=1;source.majority=0.9;suspect.majority=0.9"
        if row["method"] == "sac" and n % 3 == 0:  # a row with a reason has no notes of its networks
            row |= {"status": "not_applicable", "note": "a reason", "score": None}
    frame, run = read(rows, seeds=SEEDS, baselines=("noise",))
    found = cells(frame, run)
    assert [bool(cell.unlearned) for cell in found] == [failed, failed]
    assert [cell.untrained for cell in found] == [failed, failed]
    counts = {(a.model, a.suspect_architecture): a.unlearned == a.summary.n for a in accuracies(frame, run)}
    assert not counts.pop(("source", "vgg")) and set(counts.values()) == {failed}


@pytest.mark.parametrize(("accuracy", "failed"), [(0.99, False), (0.9, True)])
def test_one_image_that_is_wrong_is_not_far_below_peers_that_have_all_right(read, accuracy, failed):
    rows = scored()
    for row in rows:
        if row["attack"]:
            row["suspect_accuracy"] = 1.0
    (found,) = cells(*read(accurate(rows, 3, accuracy), seeds=SEEDS))
    assert [n.name for n in found.unlearned] == ["extract_l net 0 of source 3"] * failed


def test_described_networks_that_did_not_learn_have_their_names(read):
    rows = accurate(scored(), 3, 0.1)
    for row in rows:
        row["source_accuracy"] = 0.1 if row["source_seed"] == 2 else 0.9
    frame, run = read(rows, seeds=SEEDS)
    seeds = frame.source_seed.map("{:g}".format)
    named = frame.suspect_architecture + frame.replicate.map("{:g}".format) + frame.attack + seeds
    found = cells(frame.assign(source_model="mine" + seeds, suspect_model=named), run)[0]
    assert {n.name for n in found.unlearned} == {"mine2", "net0extract_l3"}


def test_few_peers_are_no_measure(read):
    rows = scored(seeds=(0, 1), stolen=1)
    frame, run = read(accurate(rows, 1, 0.5), seeds=(0, 1))
    (found,) = cells(frame, run)
    assert found.unlearned == ()


def test_a_source_that_did_not_learn_marks_all_its_cells(read):
    rows = scored()
    for row in rows:
        if row["source_seed"] == 2:
            row["source_accuracy"] = 0.11
    (found,) = cells(*read(rows, seeds=SEEDS))
    assert [n.name for n in found.unlearned] == ["source vgg 0 of source 2"]


@pytest.mark.parametrize("accuracy", [0.02, 0.1, 0.7])
def test_networks_that_are_right_once_their_classes_are_renumbered_are_named_as_that(read, tmp_path, accuracy):
    rows = scored()
    for row in accurate(rows, 3, accuracy):
        mine = (row["source_seed"], row["attack"], row["suspect_architecture"], row["replicate"])
        row["note"] = "k=1;suspect.renumbered=0.93" if mine == (3, "extract_l", "net", 0) else "k=1;renumbered=0.5"
        if row["source_seed"] == 2:
            row |= {"source_accuracy": 0.11, "note": "a=suspect.renumbered;source.renumbered=0.875"}
    frame, run = read(rows, seeds=SEEDS)
    (found,) = cells(frame, run)
    named = {n.name: n.renumbered for n in found.unlearned}
    assert named == {"source vgg 0 of source 2": 0.875, "extract_l net 0 of source 3": 0.93}
    notes = " ".join(auc_table([found], run).notes)
    assert f"extract_l net 0 of source 3 ({100 * accuracy:.1f} %, 93.0 % once its classes are renumbered)" in notes
    assert notes.count("their test images number the classes in another order: compare the two parts") == 1
    counts = {(a.model, a.suspect_architecture): a.renumbered for a in accuracies(frame, run) if a.renumbered}
    assert counts == {("source", "vgg"): (0.875,), ("extract_l", "net"): (0.93,)}
    write(tmp_path / "report", rows, run)
    text = (tmp_path / "report" / "accuracy.md").read_text()
    assert "Right once their classes are renumbered: source vgg (1 of 5, up to 87.5 %), extract_l net (1 of" in text
    assert "renumbered" in (tmp_path / "report" / "index.html").read_text()


def test_suspects_whose_classes_are_renumbered_have_learned_and_have_an_auc(read):
    rows = scored()
    for row in rows:
        if row["attack"]:
            row |= {"suspect_accuracy": 0.02, "note": "suspect.renumbered=0.93"}
    frame, run = read(rows, seeds=SEEDS)
    (found,) = cells(frame, run)
    assert (found.untrained, found.status, len(found.unlearned)) == (False, CellStatus.COMPLETE, 5 * 4)
    assert found.figure.by_source == pytest.approx(by_hand(frame))
    table = auc_table([found], run)
    assert table.rows[0][1][0].text.endswith("‡") and not any(n.startswith("not trained") for n in table.notes)


@pytest.mark.parametrize(("renumbered", "kept"), [(0.336, None), (0.449, None), (0.451, 0.451)])
def test_a_network_that_is_poor_however_its_classes_are_numbered_is_damaged(read, renumbered, kept):
    rows = accurate(scored(), 3, 0.168)
    for row in rows:
        if row["suspect_accuracy"] == 0.168:
            row["note"] = f"suspect.renumbered={renumbered}"
    frame, run = read(rows, seeds=SEEDS)  # the sources' accuracy is 0.9
    (found,) = cells(frame, run)
    assert {n.name: n.renumbered for n in found.unlearned} == {"extract_l net 0 of source 3": kept}
    notes = " ".join(auc_table([found], run).notes)
    assert ("(16.8 %, its peers 85.0 %)" in notes) is (kept is None)
    assert ("in another order" in notes) is (kept is not None)


def test_without_such_a_note_nothing_is_said_of_an_order(read):
    frame, run = read(scored(), seeds=SEEDS)
    assert not any(a.renumbered for a in accuracies(frame, run))
    assert "renumbered" not in " ".join(auc_table(cells(frame, run), run).notes)


def test_an_attack_whose_suspects_all_guess_was_not_trained(read, tmp_path):
    rows = scored()
    for row in rows:
        if row["attack"]:
            row |= {"suspect_accuracy": 0.1, "score": 5.0}
    frame, run = read(rows, seeds=SEEDS)
    (found,) = cells(frame, run)
    assert (found.figure, found.status, found.hits, found.extremes) == (None, CellStatus.NOT_TRAINED, {}, None)
    table = auc_table([found], run)
    assert table.rows[0][1][0].text == "not trained"
    assert any(note.startswith("not trained: no stolen suspect is better than chance") for note in table.notes)
    write(tmp_path / "report", rows, run)
    assert ",not_trained," in (tmp_path / "report" / "table.csv").read_text()
    assert "not trained" in (tmp_path / "report" / "index.html").read_text()


def test_without_a_number_of_classes_nothing_is_chance(read):
    rows = scored()
    for row in rows:
        row["suspect_accuracy"] = 0.1
    frame, run = read(rows, seeds=SEEDS)
    for entry in run["components"]["dataset"].values():
        entry["attributes"]["num_classes"] = 0
    assert not Networks(frame, run).table.unlearned.any()
    assert cells(frame, run)[0].figure


@pytest.mark.parametrize(("ties", "marked"), [(6, False), (7, True)])
def test_a_cell_of_mostly_ties_is_marked(read, ties, marked):
    rows = [line(architecture="net", replicate=n, score=0.0 if n < ties - 1 else 1 + n) for n in range(8)]
    rows += [line(attack="extract_l", architecture="net", replicate=n, score=20.0 * n) for n in range(4)]
    frame, run = read(rows, seeds=(0,))
    (found,) = cells(frame, run)
    assert found.extremes == (ties / 12, 1 / 12, marked)
    table = auc_table([found], run)
    assert found.tied is marked and ("§" in table.rows[0][1][0].text) is marked
    assert any(note.startswith("§: more than half of the scores are one value") for note in table.notes) is marked


def test_a_floor_of_irrelevant_models_alone_is_no_tie(read):
    """A watermark that no irrelevant model answers has them all at its floor, and separates them all the same."""
    rows = [line(architecture="net", replicate=n, score=0.0) for n in range(8)]
    rows += [line(attack="extract_l", architecture="net", replicate=n, score=1.0 + n) for n in range(4)]
    (found,) = cells(*read(rows, seeds=(0,)))
    assert found.extremes == (8 / 12, 1 / 12, False)
    assert found.figure.auc == 1.0


def test_irrelevant_models_that_no_method_scored_belong_to_their_source(read):
    rows = scored()
    for row in rows:
        row["suspect_accuracy"] = 0.8 + row["source_seed"] / 100
        if row["suspect_architecture"] == "res":
            row |= {"status": "not_applicable", "score": None, "note": "another architecture"}
    frame, run = read(rows, seeds=SEEDS)
    frame["suspect_digest"] = frame.suspect_digest.where(frame.status == "done", "")
    counts = {(a.model, a.suspect_architecture): a.summary[::2] for a in accuracies(frame, run)}
    assert counts["irrelevant", "net"] == counts["irrelevant", "res"] == (pytest.approx(0.82), 20)
    assert counts["extract_l", "net"] == counts["extract_l", "res"] == (pytest.approx(0.82), 10)


def test_a_caption_of_cells_without_a_figure_says_that_nothing_was_drawn():
    assert drawn([]) == "Drawn: nothing."


def test_a_caption_names_methods_and_attacks_with_fewer_sources_than_others(read):
    rows = [*scored(seeds=(0, 1)), *scored(methods=("mark", "noise"))]
    rows.append(line(method="mark", attack="finetune_a", architecture="vgg", score=1.0))
    more = {"methods": ("sac", "mark"), "baselines": ("noise",), "attacks": ("extract_l", "finetune_a")}
    text = drawn(cells(*read(rows, seeds=SEEDS, **more)))
    assert text.startswith("Drawn: 5 sources, but 2 for sac, 1 for mark (finetune_a); for each 4 stolen suspects by ")


def test_a_caption_does_not_say_that_each_source_has_as_many_copies_as_one(read):
    rows = [*scored(seeds=(0,), stolen=3), *scored(seeds=(1,), stolen=1)]
    text = drawn(cells(*read(rows, seeds=(0, 1))))
    assert text.startswith("Drawn: 2 sources; for each up to 6 stolen suspects by extract_l; 8 irrelevant models")


def test_a_caption_says_what_was_drawn_how_often(read, tmp_path):
    frame, run = read(scored(draws=3), seeds=SEEDS)
    models = "for each 4 stolen suspects by extract_l; 8 irrelevant models of digits; 3 fingerprints by each method."
    sentence = f"Drawn: 5 sources; {models}"
    assert drawn(cells(frame, run)) == sentence
    write(tmp_path / "report", scored(draws=3), run)
    for name, tables in (("table.md", 5), ("accuracy.md", 1), ("tex/*.tex", 6), ("index.html", 6)):
        texts = [path.read_text().replace("\\_", "_") for path in (tmp_path / "report").glob(name)]
        text = " ".join(" ".join(texts).split())
        assert text.count(sentence.replace(" of digits", " of digits (shared)")) >= tables - 1, name


# --- scores that follow accuracy ----------------------------------------------------------------------------------


def followed(slope, seeds=SEEDS, draws=2, irrelevant=2):
    """Make rows whose scores follow their accuracy, but for noise and the level of their source."""
    random = np.random.default_rng(1)
    rows = scored(seeds=seeds, draws=draws, irrelevant=irrelevant)
    accuracy = {(r["source_seed"], r["suspect_architecture"], r["replicate"]): random.uniform(0.6, 0.9) for r in rows}
    for row in rows:
        row["suspect_accuracy"] = accuracy[row["source_seed"], row["suspect_architecture"], row["replicate"]]
        row["score"] = slope * row["suspect_accuracy"] + 10 * row["source_seed"] + 0.02 * random.normal()
    return rows


@pytest.mark.parametrize("slope", [1, -1, 0])
def test_how_far_scores_follow_accuracy_is_the_correlation_within_sources_and_draws(read, slope):
    frame, run = read(followed(slope), seeds=SEEDS)
    (found,) = cells(frame, run)
    innocent = frame[frame.suspect_kind == "irrelevant"]
    within = innocent.groupby(["source_seed", "draw"])[["suspect_accuracy", "score"]].transform(lambda v: v - v.mean())
    assert found.follows == pytest.approx(np.corrcoef(within.T)[0, 1])
    notes = auc_table([found], run).notes
    told = [n for n in notes if n.startswith("Scores of irrelevant models follow their test accuracy")]
    assert [f"(correlation: sac {found.follows:.2f})" in note for note in told] == [True] * (slope != 0)
    assert all("or what goes with it here (architecture, size), may move these AUCs" in note for note in told)


def test_no_correlation_is_told_of_few_models_or_unknown_or_equal_accuracies(read):
    few, equal, unknown = followed(1, seeds=(0, 1, 2)), scored(), [r | {"suspect_accuracy": None} for r in followed(1)]
    flat = [r | {"score": 0.1} for r in followed(1, irrelevant=3)]  # whose mean is another number than 0.1
    for rows in (few, equal, unknown, flat):
        frame, run = read(rows, seeds=tuple({row["source_seed"]: None for row in rows}))
        (found,) = cells(frame, run)
        assert found.figure is not None and found.follows is None


def test_the_correlation_does_not_depend_on_the_unit_of_scores(read):
    of_unit = []
    for unit in (1, 1e300):
        (found,) = cells(*read([r | {"score": r["score"] * unit} for r in followed(1)], seeds=SEEDS))
        of_unit.append(found.follows)
    assert of_unit[0] == pytest.approx(of_unit[1], rel=1e-9)
