"""From scores to a verdict: Holm, too few innocents, what blocks a method, accuracies."""

from collections import Counter
from types import SimpleNamespace

import pytest
from small_commitment import small_commitment

from bench.stats.holm import holm
from bench.verification.judgement import accuracy_finding, damage_finding, judge, without_source
from bench.verification.kinds import FindingKind, VerdictKind
from bench.verification.schema import Finding, MethodResult, TransportScore

ENOUGH = 199
"""Innocents that are enough for two methods at 0.01."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """200 innocents of 25 families by two methods."""
    transports = [
        TransportScore(transport="jpeg_q75", method="sac_m", score=0.5, p_value=0.005),
        TransportScore(transport="jpeg_q75", method="ipguard", score=0.41, p_value=0.4),
        TransportScore(transport="labels", method="sac_m", score=None, p_value=None),
    ]
    place = tmp_path_factory.mktemp("judged") / "C"
    return small_commitment(place, innocents=ENOUGH, families=25, transports=transports)


def asked(sac=(0.9, 0.9), ipguard=(0.9,), reason=""):
    results = [MethodResult(method="sac_m", queries=200, draws=list(sac), reason=reason)]
    return [*results, MethodResult(method="ipguard", queries=100, draws=list(ipguard))]


def test_a_copy_and_an_innocent(folder):
    found = judge(folder, 0.01, asked(), [])
    assert found.verdict == VerdictKind.EVIDENCE and not found.reasons
    assert found.innocents == ENOUGH and found.families == 25
    assert [m.p_value for m in found.methods] == [1 / 200, 1 / 200]
    assert [m.adjusted for m in found.methods] == holm([1 / 200, 1 / 200]).tolist() == [0.01, 0.01]
    found = judge(folder, 0.01, asked((-0.3, -0.3), (0.4,)), [])
    assert found.verdict == VerdictKind.NO_EVIDENCE and not found.reasons


def test_the_score_is_the_mean_of_the_draws(folder):
    assert judge(folder, 0.01, asked((0.2, 0.4)), []).methods[0].score == pytest.approx(0.3)


def test_holm_counts_the_methods_that_are_used(folder):
    one = judge(folder, 0.006, asked((), reason="the suspect answers with labels, not with logits"), [])
    assert one.verdict == VerdictKind.EVIDENCE and one.methods[1].adjusted == 1 / 200
    assert one.methods[0].p_value is None and one.methods[0].reason.startswith("the suspect answers")
    two = judge(folder, 0.006, asked(), [])
    assert two.verdict == VerdictKind.CANNOT_TELL
    assert two.reasons == ["199 innocents are too few for alpha = 0.006, with 2 methods: 333 are needed"]


def test_unseen_families_have_a_verdict_of_their_own(folder):
    assert judge(folder, 0.05, asked(), []).unseen == VerdictKind.CANNOT_TELL  # 2 / 26 is above 0.05
    assert judge(folder, 0.1, asked(), []).unseen == VerdictKind.EVIDENCE
    assert judge(folder, 0.1, asked((-0.3, -0.3), (0.4,)), []).unseen == VerdictKind.NO_EVIDENCE


def test_one_innocent_below_what_alpha_needs(tmp_path):
    for count, verdict in ((98, VerdictKind.CANNOT_TELL), (99, VerdictKind.EVIDENCE)):
        folder = small_commitment(tmp_path / str(count), methods=("ipguard",), innocents=count)
        found = judge(folder, 0.01, asked()[1:], [])
        assert found.verdict == verdict
    assert judge(folder, 0.01, asked(ipguard=(0.1,))[1:], []).verdict == VerdictKind.NO_EVIDENCE


def test_no_innocents(tmp_path):
    found = judge(small_commitment(tmp_path / "C", innocents=0), 0.01, asked(), [])
    assert found.verdict == found.unseen == VerdictKind.CANNOT_TELL
    assert found.reasons == [
        "sac_m, ipguard: no innocent has a score: commit to some with bench commit --innocents FILE"
    ]


def finding(kind=FindingKind.BATCH, blocks=(), **figures):
    return Finding(kind=kind, text="it was seen", blocks=list(blocks), figures=figures)


def test_a_blocked_method_is_not_used(folder):
    found = judge(folder, 0.01, asked((-0.3, -0.3)), [finding(blocks=["sac_m"])])
    assert [m.reason for m in found.methods] == ["it was seen", ""] and found.verdict == VerdictKind.EVIDENCE
    assert found.methods[0].score == pytest.approx(-0.3) and found.methods[0].p_value is None
    assert found.methods[1].adjusted == 1 / 200


def test_without_a_usable_method_it_cannot_be_told(folder):
    for findings in ([finding(blocks=["all"])], [finding(blocks=["sac_m"]), finding(blocks=["ipguard"])]):
        for scores in (asked(), asked((-0.3, -0.3), (0.4,))):
            found = judge(folder, 0.01, scores, findings)
            assert found.verdict == found.unseen == VerdictKind.CANNOT_TELL
            assert found.reasons == ["sac_m, ipguard: it was seen"]


def test_a_finding_that_blocks_nothing_changes_nothing(folder):
    assert judge(folder, 0.01, asked(), [finding()]) == judge(folder, 0.01, asked(), [])


def test_a_transport_that_breaks_a_method_for_the_source_itself(folder):
    found = judge(folder, 0.01, asked((-0.3, -0.3), (0.4,)), [finding(FindingKind.TRANSPORT, transport="jpeg_q75")])
    assert found.methods[0].reason == "" and found.verdict == VerdictKind.NO_EVIDENCE
    assert found.methods[1].reason == (
        "not testable here: the suspect is asked through jpeg_q75, "
        "through which the source itself scores 0.41 (p = 0.4)"
    )
    found = judge(folder, 0.01, asked(), [finding(FindingKind.TRANSPORT, transport="labels")])
    assert "the source itself has no score" in found.methods[0].reason
    assert "no score of the source through it" in found.methods[1].reason
    assert found.verdict == VerdictKind.CANNOT_TELL


def test_a_transport_does_not_break_a_method_whose_innocents_allow_no_smaller_p_value(folder):
    """None of 199 innocents scores as high as the source through JPEG: p = 1 / 200 is above alpha by their number."""
    found = judge(folder, 0.001, asked(), [finding(FindingKind.TRANSPORT, transport="jpeg_q75")])
    assert found.methods[0].reason == "" and found.methods[0].p_value == 1 / 200
    assert found.methods[1].reason.startswith("not testable here: the suspect is asked through jpeg_q75")
    assert found.reasons == ["199 innocents are too few for alpha = 0.001: 999 are needed"]


@pytest.mark.parametrize(
    ("alpha", "p_value", "text"),
    [
        (0.01, 1 / 200, ""),
        (0.01, 2 / 200, ""),
        (0.01, 3 / 200, "not testable: asked directly, the source itself scores 0.41 (p = 0.015)"),
        (0.02, 3 / 200, ""),
        (0.001, 1 / 200, ""),  # so many innocents allow no smaller one
        (0.001, 2 / 200, "not testable: asked directly, the source itself scores 0.41 (p = 0.01)"),
    ],
)
def test_a_method_that_does_not_find_the_source_itself(tmp_path, alpha, p_value, text):
    direct = TransportScore(transport="direct", method="ipguard", score=0.41, p_value=p_value)
    other = TransportScore(transport="labels", method="sac_m", score=0.1, p_value=0.9)
    folder = small_commitment(tmp_path / "C", innocents=ENOUGH, transports=[direct, other])
    assert without_source(folder, alpha, "ipguard") == text
    assert without_source(folder, alpha, "sac_m") == ""  # that is not known


def test_the_source_itself_is_compared_with_innocents_of_its_own_dataset():
    direct = TransportScore(transport="direct", method="ipguard", score=0.9, p_value=1 / 50)
    own = SimpleNamespace(scores_of=lambda method: [0.0] * 49)
    of_suspect = SimpleNamespace(transports=[direct], scores_of=lambda m: [0.0] * 120, for_suspect=lambda name: own)
    assert without_source(of_suspect, 0.01, "ipguard") == ""


LABELS = Counter(dict.fromkeys(range(10), 10))


@pytest.mark.parametrize(
    ("right", "lowest", "text"),
    (
        (10, 0.9, "no more than chance"),
        (17, 0.9, "no more than chance"),
        (18, 0.9, "no more than chance"),  # P(18 or more of 100 | 0.1) = 0.01001, P(19 or more) = 0.0046
        (0, 0.9, "no more than chance"),
        (19, 0.9, "far less than the worst of the innocents"),
        (37, 0.9, "far less than the worst of the innocents"),  # P(37 or fewer of 100 | 0.5) = 0.0060
        (38, 0.9, ""),  # 0.0105
        (39, 0.9, ""),
        (90, 0.9, ""),
        (19, 0.2, ""),
    ),
)
def test_accuracies(right, lowest, text):
    found = accuracy_finding(right, 100, LABELS, [lowest, 0.95])
    assert (text in found.text and found.blocks == ["all"]) if text else found is None


@pytest.mark.parametrize(
    ("right", "innocents", "found"),
    [
        (72, [0.9, 0.84], True),
        (75, [0.9, 0.84], False),  # P(75 or fewer of 100 | 0.84) = 0.0135, P(74 or fewer) = 0.0071
        (80, [0.9, 0.84], False),
        (90, [0.84], False),
        (72, [0.9, 0.7], False),
        (72, [], False),
    ],
)
def test_a_suspect_that_is_worse_than_every_innocent_is_a_finding_that_blocks_nothing(right, innocents, found):
    finding = damage_finding(right, 100, innocents)
    assert (finding is not None) is found
    if finding:
        assert finding.kind == FindingKind.DAMAGE and finding.blocks == []
        assert "72 of 100 check images rightly, less than every innocent (from 84.0%)" in finding.text


def test_no_answers_to_check_images_are_no_damage():
    assert damage_finding(0, 0, [0.9]) is None
    assert damage_finding(100, 100, [1.0, 1.0]) is None


def test_chance_is_the_most_frequent_label():
    uneven = Counter({0: 60, 1: 40})
    assert "no more than chance (60.0%)" in accuracy_finding(65, 100, uneven, [0.9]).text
    assert accuracy_finding(90, 100, uneven, [0.9]) is None


def test_an_unknown_accuracy_is_a_finding_that_blocks_nothing():
    found = accuracy_finding(0, 0, Counter(), [0.9])
    assert "not known" in found.text and found.blocks == []
