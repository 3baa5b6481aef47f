"""`bench judge`: honest evidence holds, a fingerprint that was tuned on an innocent suspect is refuted."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from inline_session import InlineProcess
from msgspec import structs
from real_commitment import INNOCENTS, committed, described
from zoo_files import copied, save_safetensors, trained, zoo

import bench
from bench.cli.commands.judge import command
from bench.core.canonical import canonical
from bench.core.errors import BenchError
from bench.models.answers import image_digests
from bench.registry.discovery import load_registry
from bench.training.augmentation import pixels
from bench.verification import child as verification
from bench.verification import commitment_files, evidence_files, judge, manifest, regeneration, spread
from bench.verification.kinds import Origin, Ruling
from bench.verification.likeness import PIXEL, compared
from bench.verification.recorded import RecordedSuspect
from bench.verification.regeneration import Regenerated
from bench.verification.replay import replay
from bench.verification.schema import Finding, MethodResult
from bench.verification.scoring import code_finding
from bench.verification.suspect_checks import Opener
from benchmarks.tuning import TUNED, forged

INNOCENT = 77
"""Seed of a suspect that had nothing to do with the source, and is not among the null scores."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    described(folder)
    for name, model in (("innocent", trained(INNOCENT)), ("stolen", copied(trained(0), 9))):
        save_safetensors(model, folder / f"{name}-suspect.safetensors")
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store that is not the user's: no fixture of a module meets the variable that names one to tests."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def commitment(place, store, tmp_path_factory):
    files = {"models": place / "mine.toml", "innocents": place / "innocents.toml"}
    return committed(place, tmp_path_factory.mktemp("made") / "C", files, store=store)


def asked(place, folder, commitment, suspect, out, **fields):
    """Ask a suspect, and return the folder of evidence and the verdict."""
    weights = {"format": "safetensors", "architecture": "tiny_linear"}
    row = {"name": "theirs", "role": "suspect", "file": place / f"{suspect}-suspect.safetensors"}
    models = zoo(folder, {**row, **weights, **fields}, name=f"{suspect}.toml")
    options = {"alpha": 0.1, "plugins": [place / "tiny.py"]}
    return folder / out, bench.verify(models, commitment=commitment.folder, out=folder / out, **options)


@pytest.fixture(scope="module")
def honest(place, commitment, tmp_path_factory):
    """Return what comes of asking each suspect about the commitment, by its name."""
    folder = tmp_path_factory.mktemp("honest")
    with pytest.MonkeyPatch.context() as inline:
        inline.setattr(verification, "SupervisedProcess", InlineProcess)
        return {name: asked(place, folder, commitment, name, name) for name in ("stolen", "innocent")}


@pytest.fixture
def verify(place, commitment, honest, monkeypatch, tmp_path):
    """Ask a suspect, or copy the honest evidence about it; return the folder of evidence and the verdict."""
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    known = commitment

    def verify_(commitment, suspect="stolen", out="E", **fields):
        if commitment is known and suspect in honest and not fields:
            folder, verdict = honest[suspect]
            return shutil.copytree(folder, tmp_path / out), verdict
        return asked(place, tmp_path, commitment, suspect, out, **fields)

    return verify_


@pytest.fixture
def judged(place):
    def judged_(folder, **options):
        options.setdefault("source", place / "mine.toml")
        options.setdefault("plugins", [place / "tiny.py"])
        return bench.judge(folder, progress=False, **options)

    return judged_


@pytest.fixture
def reproducible(monkeypatch, commitment, place):
    """Older instructions of this processor make the same fingerprints: they are not tried in each of these tests."""

    def same(found, source, where):
        return judge.regenerated(found, source, where, bench.frontend.reporter.reporter_of(False, False))

    monkeypatch.setattr(judge, "elsewhere", same)


@pytest.fixture(scope="module")
def made_again():
    return {}


@pytest.fixture
def remembered(made_again, monkeypatch):
    """Make the fingerprints of a source and a Spec once: these tests are about what they are compared with."""

    def once(found, source, where, reporter):
        key = canonical(found.commitment.spec), source
        if key not in made_again:
            made_again[key] = regeneration.regenerated(found, source, where, reporter)
        return made_again[key]

    monkeypatch.setattr(judge, "regenerated", once)


# --- honest evidence ----------------------------------------------------------------------------------------------


def test_honest_evidence_holds(commitment, verify, judged):
    folder, verdict = verify(commitment)
    assert verdict.verdict == "evidence of copying"
    found = judged(folder)
    assert found.ruling == Ruling.HOLDS and found.code == 0
    assert [m.origin for m in found.methods] == [Origin.EXACT, Origin.EXACT]
    assert str(found).endswith("The evidence: holds")


def test_the_source_is_known_by_its_content(commitment, verify, judged, tmp_path, place):
    folder, _ = verify(commitment)
    shutil.copy(place / "mine.safetensors", tmp_path / "renamed.safetensors")
    row = {"name": "another_name", "role": "source", "file": "renamed.safetensors", "format": "safetensors"}
    models = zoo(tmp_path, {**row, "architecture": "tiny_linear"}, name="renamed.toml")
    assert judged(folder, source=models).ruling == Ruling.HOLDS


def test_no_evidence_holds_too(commitment, verify, judged, remembered):
    folder, verdict = verify(commitment, "innocent")
    assert verdict.verdict == "no evidence" and judged(folder).ruling == Ruling.HOLDS


def test_the_command(commitment, verify, place):
    folder, _ = verify(commitment)
    arguments = [folder, "--source", place / "mine.toml", "--plugin", place / "tiny.py", "--quiet"]
    result = CliRunner().invoke(command, list(map(str, arguments)), standalone_mode=False, catch_exceptions=False)
    assert result.return_value == 0 and "sac_m: regenerated exactly" in result.output


OLDER = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


@pytest.mark.slow
def test_fingerprints_are_made_again_on_another_processor(commitment, verify, place, tmp_path):
    folder, _ = verify(commitment)
    words = ["judge", str(folder), "--source", str(place / "mine.toml"), "--plugin", str(place / "tiny.py"), "--quiet"]
    environment = os.environ | {"BENCH_STORE": str(tmp_path / "store")} | OLDER
    run = subprocess.run(
        [sys.executable, "-m", "bench", *words], env=environment, capture_output=True, text=True, timeout=300
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "sac_m: regenerated" in run.stdout and "ipguard: regenerated" in run.stdout


# --- tuned fingerprints -------------------------------------------------------------------------------------------


def tuned(commitment, method, eps=1.0):
    """Return the tensors of a method's draws, tuned until the innocent suspect agrees with the source."""
    pairs = zip(commitment.method(method).fingerprints, commitment.fingerprints(method), strict=True)
    return {file.file: TUNED[method](own, trained(0), trained(INNOCENT), eps) for file, own in pairs}


@pytest.mark.parametrize("method", ["ipguard", pytest.param("sac_m", marks=pytest.mark.slow)])
def test_a_fingerprint_tuned_on_an_innocent_is_refuted(
    method, commitment, verify, judged, tmp_path, reproducible, remembered
):
    false = forged(commitment, tuned(commitment, method), tmp_path / "F")
    folder, verdict = verify(false, "innocent")
    scores = {m.method: (m.score, m.p_value) for m in verdict.methods}
    assert scores[method][1] == 1 / (INNOCENTS + 1), scores  # no innocent scores so high: it would be accused
    found = judged(folder)
    assert found.ruling == Ruling.REFUTED and found.code == 1
    origins = {m.method: m.origin for m in found.methods}
    assert origins.pop(method) == Origin.REFUTED and {*origins.values()} == {Origin.EXACT}


@pytest.mark.slow
def test_a_tuned_fingerprint_is_refuted_on_this_processor(commitment, verify, judged, tmp_path):
    """With older instructions of this processor, in a process of its own: they make the same fingerprint."""
    false = forged(commitment, tuned(commitment, "ipguard"), tmp_path / "F")
    folder, _ = verify(false, "innocent")
    found = judged(folder)
    if "no older instructions" in found.methods[1].text:
        pytest.skip("this processor has no older instructions")
    assert found.ruling == Ruling.REFUTED


@pytest.mark.parametrize("method", ["ipguard", pytest.param("sac_m", marks=pytest.mark.slow)])
def test_small_changes_are_refuted(method, commitment, verify, judged, tmp_path, reproducible, remembered):
    false = forged(commitment, tuned(commitment, method, 2 / 255), tmp_path / "F")
    folder, _ = verify(false, "innocent")
    assert judged(folder).ruling == Ruling.REFUTED


def test_a_scale_that_hides_what_was_tuned_is_refuted(commitment, verify, judged, tmp_path, reproducible, remembered):
    """Cosines of answers do not see that a row is multiplied; the tolerance may not follow from it."""
    tuned = {}
    for file, own in zip(commitment.method("sac_m").fingerprints, commitment.fingerprints("sac_m"), strict=True):
        with torch.no_grad():
            logits = trained(INNOCENT)(own["probes"].float() / (255 if own["probes"].dtype == torch.uint8 else 1))
        logits[0] *= 1e7
        tuned[file.file] = {**own, "logits": logits.to(own["logits"].dtype)}
    false = forged(commitment, tuned, tmp_path / "F")
    folder, verdict = verify(false, "innocent")
    assert {m.method: m.p_value for m in verdict.methods}["sac_m"] == 1 / (INNOCENTS + 1)
    found = judged(folder)
    assert found.ruling == Ruling.REFUTED and "sac_m" in {m.method for m in found.methods if m.origin == Origin.REFUTED}


def test_other_labels_are_refuted(commitment, verify, judged, tmp_path, reproducible, remembered):
    (file,), (own,) = commitment.method("ipguard").fingerprints, commitment.fingerprints("ipguard")
    with torch.no_grad():
        labels = trained(INNOCENT)(own["points"]).argmax(1)
    false = forged(commitment, {file.file: {**own, "labels": labels}}, tmp_path / "F")
    folder, verdict = verify(false, "innocent")
    assert {m.method: m.score for m in verdict.methods}["ipguard"] == 1
    assert judged(folder).ruling == Ruling.REFUTED


def test_what_rounding_changes_is_regenerated_elsewhere(commitment, verify, judged, tmp_path):
    (file,), (own,) = commitment.method("ipguard").fingerprints, commitment.fingerprints("ipguard")
    points = (own["points"] + 1e-6).clamp(0, 1)
    folder, _ = verify(forged(commitment, {file.file: {**own, "points": points}}, tmp_path / "F"))
    found = judged(folder)
    assert found.ruling == Ruling.HOLDS and found.methods[1].origin == Origin.ELSEWHERE
    assert "100.0% of 50 rows are the same" in found.methods[1].text


@pytest.mark.slow
def test_a_fingerprint_that_no_processor_repeats_cannot_be_judged(commitment, verify, judged, tmp_path, monkeypatch):
    def random(found, source, where):
        random = torch.Generator().manual_seed(0)
        made = regeneration.regenerated(found, source, where, bench.frontend.reporter.reporter_of(False, False))
        draws = {
            key: draw._replace(
                tensors={
                    n: torch.rand(t.shape, generator=random) if t.is_floating_point() else t
                    for n, t in draw.tensors.items()
                }
            )
            for key, draw in made.draws.items()
        }
        return Regenerated(draws=draws)

    monkeypatch.setattr(judge, "elsewhere", random)
    folder, _ = verify(forged(commitment, tuned(commitment, "ipguard"), tmp_path / "F"), "innocent")
    found = judged(folder)
    assert found.methods[1].origin == Origin.CANNOT_TELL and "another one, too" in found.methods[1].text
    monkeypatch.setattr(judge, "elsewhere", lambda *_: "it is not tried")
    assert judged(folder).methods[1].origin == Origin.CANNOT_TELL


@pytest.mark.parametrize(("device", "cpu", "gpus"), [("cpu", False, ()), ("cuda:0", False, None), ("cuda:0", True, ())])
def test_a_gpu_is_used_only_if_the_commitment_was_made_on_one(
    commitment, place, tmp_path, monkeypatch, device, cpu, gpus
):
    """On a GPU, older instructions of the processor make the same fingerprints: an honest one would be refuted."""
    changed = structs.replace(commitment.commitment, made={"device": device})
    where = regeneration.Place(tmp_path, (str(place / "tiny.py"),), cpu=cpu)
    models = regeneration.located(changed, place / "mine.toml")
    monkeypatch.setattr(regeneration, "prepare", lambda request, reporter: request)
    asked = regeneration._prepared(changed, models, changed.methods, (where, where.registry()), tmp_path, None)
    assert asked.use_gpus == gpus


def test_what_a_gpu_made_is_not_refuted_without_one(commitment, tmp_path, monkeypatch):
    monkeypatch.setattr(spread, "own_device", lambda *_: "cpu")
    for made in ({"device": "cuda:0"}, {"machine": "Linux, NVIDIA H200, driver 1, CUDA 13.0"}):
        found = replace(commitment, commitment=structs.replace(commitment.commitment, made=made))
        text = spread.elsewhere(found, "mine.toml", regeneration.Place(tmp_path))
        assert text == "it was made on a GPU, and there is none here"


def with_seed(commitment, out):
    methods = [
        structs.replace(m, fingerprints=[structs.replace(f, seed=f.seed + 1) for f in m.fingerprints])
        for m in commitment.commitment.methods
    ]
    return forged(
        commitment_files.CommitmentFolder(
            commitment.folder, structs.replace(commitment.commitment, methods=methods), commitment.digest
        ),
        {},
        out,
    )


def test_a_chosen_seed_is_refuted_on_any_processor(commitment, verify, judged, tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "elsewhere", lambda *_: "it is not tried")
    folder, _ = verify(with_seed(commitment, tmp_path / "F"))
    found = judged(folder)
    assert found.ruling == Ruling.REFUTED and "the protocol's is" in found.methods[0].text


def with_draws(commitment, chosen, out):
    methods = [
        structs.replace(m, fingerprints=[m.fingerprints[i] for i in chosen] if m.name == "sac_m" else m.fingerprints)
        for m in commitment.commitment.methods
    ]
    changed = structs.replace(commitment.commitment, methods=methods)
    return forged(commitment_files.CommitmentFolder(commitment.folder, changed, commitment.digest), {}, out)


def test_draws_that_were_left_out_are_refuted_on_any_processor(commitment, verify, judged, tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "elsewhere", lambda *_: "it is not tried")
    folder, _ = verify(with_draws(commitment, (1, 3), tmp_path / "F"))
    found = judged(folder)
    assert found.ruling == Ruling.REFUTED
    assert found.methods[0].text == "it has 2 different fingerprints, and the protocol has 5"


@pytest.mark.parametrize("library", ["fingerprint-bench", "torch"])
@pytest.mark.parametrize(
    ("forge", "ruling"),
    [
        (with_seed, Ruling.CANNOT_TELL),
        (lambda found, out: with_draws(found, (1, 3), out), Ruling.HOLDS),  # ipguard suffices, whatever sac_m scores
    ],
)
def test_fingerprints_of_another_version_are_neither_refuted_nor_confirmed(
    library, forge, ruling, commitment, verify, judged, tmp_path, remembered
):
    """The protocol of that version may have other seeds and draws, and may be installed to judge by."""
    made = commitment.commitment.made
    changed = {**made, "libraries": {**made["libraries"], library: "0.9"}}
    older = replace(commitment, commitment=structs.replace(commitment.commitment, made=changed))
    folder, _ = verify(forge(older, tmp_path / "F"))
    found = judged(folder)
    assert found.ruling == ruling and found.methods[0].origin == Origin.CANNOT_TELL
    assert f"the commitment was made with {library} 0.9, and" in found.methods[0].text


def test_equal_fingerprints_of_another_version_are_confirmed(commitment, verify, judged, tmp_path, remembered):
    made = commitment.commitment.made
    (file,), (own,) = commitment.method("ipguard").fingerprints, commitment.fingerprints("ipguard")
    rounded = {file.file: {**own, "points": (own["points"] + 1e-6).clamp(0, 1)}}
    for libraries in ({"fingerprint-bench": "0.9", "torch": "1.0"}, ["fingerprint-bench"]):
        changed = structs.replace(commitment.commitment, made={**made, "libraries": libraries})
        name = str(len(libraries))
        folder, _ = verify(forged(replace(commitment, commitment=changed), rounded, tmp_path / name), out=f"E{name}")
        found = judged(folder)
        assert found.ruling == Ruling.HOLDS and found.methods[1].origin == Origin.ELSEWHERE


# --- scores and answers -------------------------------------------------------------------------------------------


def test_a_score_that_does_not_follow_from_the_answers_is_refuted(commitment, verify, judged, remembered):
    from bench.verification.judgement import judge as judgement

    folder, _ = verify(commitment, "innocent")
    evidence = evidence_files.read(folder).evidence
    asked = [structs.replace(m, draws=[1.0] * len(m.draws), score=None) for m in evidence.judgement.methods]
    changed = structs.replace(
        evidence, judgement=judgement(commitment, evidence.judgement.alpha, asked, evidence.findings)
    )
    evidence_files.finish(folder, changed, commitment_files.read(folder / "commitment"))
    assert evidence_files.read(folder).evidence.judgement.verdict == "evidence of copying"
    found = judged(folder)
    assert found.ruling == Ruling.REFUTED and "in the evidence, and" in found.methods[0].text


def forge(commitment, folder, change, keep=lambda finding: True, more=()):
    """Change results of methods and leave out findings in evidence, with everything that follows from them."""
    from bench.verification.judgement import judge as judgement

    evidence = evidence_files.read(folder).evidence
    findings = [*filter(keep, evidence.findings), *more]
    asked = [
        change(MethodResult(method=m.method, queries=m.queries, draws=m.draws)) for m in evidence.judgement.methods
    ]
    made = judgement(commitment, evidence.judgement.alpha, asked, findings)
    changed = structs.replace(evidence, judgement=made, findings=findings)
    evidence_files.finish(folder, changed, commitment_files.read(folder / "commitment"))
    assert replay(folder).evidence.judgement == made  # nobody sees it without the answers and the method
    return made


def unscored(method):
    """Leave out the score of ipguard, so that fewer methods count."""
    return (
        structs.replace(method, draws=[], reason="its code failed: ValueError")
        if method.method == "ipguard"
        else method
    )


def test_a_score_that_is_left_out_is_refuted(commitment, verify, judged, remembered):
    folder, _ = verify(commitment, "innocent")
    made = forge(commitment, folder, unscored)
    assert made.methods[0].adjusted == made.methods[0].p_value
    found = judged(folder)
    assert found.ruling == Ruling.REFUTED
    assert found.methods[1].text.startswith("the evidence has no score (its code failed: ValueError), and by the")


def test_a_method_whose_answers_are_missing_counts_among_the_others(
    commitment, verify, judged, tmp_path, place, remembered
):
    folder, _ = verify(commitment)
    evidence = folder / "answers.csv"
    wanted = {*image_digests(commitment.fingerprints("ipguard")[0]["points"])}
    lines = [line for line in evidence.read_text().splitlines() if line.partition(",")[0] not in wanted]
    (tmp_path / "table.csv").write_text("\n".join(line for line in lines if "." not in line.partition(",")[0]) + "\n")
    models = zoo(
        tmp_path, {"name": "theirs", "role": "suspect", "format": "answers", "file": "table.csv"}, name="t.toml"
    )
    for alpha, ruling in ((0.1, Ruling.HOLDS), (1.5 / (INNOCENTS + 1), Ruling.CANNOT_TELL)):
        out = tmp_path / f"T{alpha}"
        found = bench.verify(models, commitment=commitment.folder, out=out, alpha=alpha, plugins=[place / "tiny.py"])
        assert found.verdict == "evidence of copying" and "images that are asked" in found.methods[1].reason
        again = judged(out)
        assert again.methods[1].origin == Origin.CANNOT_TELL and again.ruling == ruling


def without_answers(folder, wanted):
    """Remove the answers to some images, and these images, from evidence."""
    found = evidence_files.read(folder)
    images, digests = found.queries()
    lines = (folder / "answers.csv").read_text().splitlines(keepends=True)
    (folder / "answers.csv").write_text("".join(line for line in lines if line.partition(",")[0] not in wanted))
    asked = dict(zip(digests, pixels(torch.from_numpy(images)), strict=True))
    evidence_files.write_queries(folder, asked, images.shape[1:])
    changed = structs.replace(found.evidence, queries=found.evidence.queries - len(wanted))
    evidence_files.finish(folder, changed, commitment_files.read(folder / "commitment"))


def test_a_method_whose_answers_were_removed_is_unknown_whatever_reason_the_evidence_gives(
    commitment, verify, judged, remembered
):
    folder, _ = verify(commitment)
    without_answers(folder, {*image_digests(commitment.fingerprints("ipguard")[0]["points"])})
    for reason in ("32 images have no recorded answer", "the server refused"):
        made = forge(
            commitment,
            folder,
            lambda m, r=reason: structs.replace(m, draws=[], reason=r) if m.method == "ipguard" else m,
        )
        assert made.methods[0].adjusted == made.methods[0].p_value
        method = judged(folder).methods[1]
        assert method.origin == Origin.CANNOT_TELL
        assert method.text == "its scores cannot be computed from answers.csv: 32 images have no recorded answer"


def test_a_score_whose_answers_are_missing_is_refuted(commitment, verify, judged, remembered):
    folder, _ = verify(commitment)
    without_answers(folder, {*image_digests(commitment.fingerprints("ipguard")[0]["points"])})
    found = judged(folder)
    assert found.ruling == Ruling.REFUTED and "32 images have no recorded answer" in found.methods[1].text


@pytest.fixture
def unfound(commitment, tmp_path):
    """Return a commitment whose source is not found by ipguard."""
    changed = replace(commitment)
    changed.__dict__["transports"] = [
        structs.replace(row, score=0.2, p_value=0.4) if (row.transport, row.method) == ("direct", "ipguard") else row
        for row in commitment.transports
    ]
    return forged(changed, {}, tmp_path / "U")


def test_a_method_that_does_not_find_the_source_is_not_asked(unfound, verify, judged, remembered):
    folder, verdict = verify(unfound, "innocent")
    assert verdict.verdict == "no evidence"  # of sac_m
    found = verdict.methods[1]
    assert found.reason == "not testable: asked directly, the source itself scores 0.2 (p = 0.4)"
    assert (found.queries, found.draws, verdict.methods[0].adjusted) == (0, [], verdict.methods[0].p_value)
    assert judged(folder).ruling == Ruling.HOLDS
    forge(unfound, folder, lambda m: structs.replace(m, draws=[], reason="it is slow") if not m.draws else m)
    assert judged(folder).methods[1].origin == Origin.CANNOT_TELL


def test_evidence_of_an_earlier_version_keeps_the_scores_of_such_a_method(
    unfound, verify, judged, remembered, monkeypatch
):
    monkeypatch.setattr("bench.verification.session.without_source", lambda *_: "")
    folder, verdict = verify(unfound, "innocent")
    assert verdict.methods[1].draws and replay(folder).evidence.judgement.methods[1].p_value
    assert judged(folder).ruling == Ruling.HOLDS


def test_a_method_that_finds_the_source_cannot_be_left_out_as_one_that_does_not(commitment, verify, judged, remembered):
    reason = "not testable: asked directly, the source itself scores 0.2 (p = 0.4)"
    folder, _ = verify(commitment, "innocent")
    forge(commitment, folder, lambda m: structs.replace(m, draws=[], reason=reason) if m.method == "ipguard" else m)
    assert judged(folder).ruling == Ruling.REFUTED


def test_findings_that_block_are_made_again(commitment, verify, judged, remembered):
    folder, verdict = verify(commitment, mean=[2.0], std=[0.1])
    assert verdict.verdict == "cannot tell" and "correct the description" in verdict.reasons[0]
    assert judged(folder).ruling == Ruling.HOLDS
    forge(commitment, folder, lambda m: m, lambda f: f.kind != "preprocessing")
    found = judged(folder)
    assert found.ruling == Ruling.REFUTED
    assert "checks of the suspect: refuted (the evidence lacks a finding that follows" in str(found)


def test_a_finding_that_speaks_for_the_suspect_cannot_be_left_out(commitment, verify, judged, place, remembered):
    damaged = trained(INNOCENT)
    random = torch.Generator().manual_seed(0)
    noise = [torch.randn(p.shape, generator=random) for p in damaged.parameters()]
    for step in range(20):  # until it is worse than every innocent, and yet nothing that blocks
        with torch.no_grad():
            for p, n in zip(damaged.parameters(), noise, strict=True):
                p += 0.02 * n
        save_safetensors(damaged, place / "damaged-suspect.safetensors")
        folder, verdict = verify(commitment, "damaged", out=f"E{step}")
        kinds = {f.kind for f in verdict.evidence.evidence.findings}
        if "damage" in kinds:
            break
    assert kinds == {"damage"} and judged(folder).ruling == Ruling.HOLDS
    forge(commitment, folder, lambda m: m, lambda f: f.kind != "damage")
    found = judged(folder)
    assert found.ruling == Ruling.REFUTED and "lacks a finding that follows from the recorded answers" in str(found)


def test_a_finding_that_blocks_a_method_must_follow_from_the_answers(commitment, verify, judged, remembered):
    folder, _ = verify(commitment)
    blocked = Finding(kind="transport", text="images are compressed", blocks=["ipguard"])
    forge(commitment, folder, lambda m: m, more=[blocked])
    found = judged(folder)
    assert found.ruling == Ruling.REFUTED and "does not follow from the recorded answers" in found.methods[-1].text
    evidence_files.finish(
        folder,
        structs.replace(replay(folder).evidence, made={"versions": {"fingerprint-bench": "0"}}),
        commitment_files.read(folder / "commitment"),
    )
    assert judged(folder).ruling == Ruling.CANNOT_TELL  # another version may check otherwise
    odd = structs.replace(replay(folder).evidence, made={"versions": ["fingerprint-bench"]})
    evidence_files.finish(folder, odd, commitment_files.read(folder / "commitment"))
    assert judged(folder).ruling == Ruling.CANNOT_TELL


@pytest.mark.parametrize("blocking", [{"blocks": ["ipguard"]}, {"figures": {"transport": "resize_half"}}])
def test_a_report_of_an_endpoint_that_blocks_a_method_is_refuted(commitment, verify, judged, remembered, blocking):
    folder, _ = verify(commitment)
    forge(
        commitment, folder, lambda m: m, more=[Finding(kind="endpoint", text="a server answers", figures={"counts": 1})]
    )
    assert judged(folder).ruling == Ruling.HOLDS
    forge(commitment, folder, lambda m: m, more=[Finding(kind="endpoint", text="it answers otherwise", **blocking)])
    found = judged(folder)
    assert found.ruling == Ruling.REFUTED and "does not follow from the recorded answers" in found.methods[-1].text


def test_a_layout_that_was_not_asked_is_not_counted_as_asked(commitment, verify):
    """An image that looks the same in another declaration is the next question about it in verify and in judge."""
    folder, _ = verify(commitment)
    recorded = RecordedSuspect(replay(folder), load_registry())
    opener = Opener(recorded._recorder(), recorded.target, recorded.registry)
    with pytest.raises(BenchError, match="layout: an installed architecture gets NCHW"):
        opener(structs.replace(recorded.model, layout="NHWC"))


# --- what is wrong input, or unknown ------------------------------------------------------------------------------


def test_another_source_is_one_line(commitment, verify, judged, place, tmp_path):
    folder, _ = verify(commitment)
    row = {"name": "mine", "role": "source", "file": place / "innocent-0.safetensors", "format": "safetensors"}
    models = zoo(tmp_path, {**row, "architecture": "tiny_linear"}, name="other.toml")
    with pytest.raises(BenchError, match=r"mine has the digest .*, and the commitment is about mine, with the digest"):
        judged(folder, source=models)


def helped(place, out, name, role, **options):
    """Commit to a source that is described with a helper; return the file of descriptions and the commitment."""
    save_safetensors(trained(50), place / f"{name}.safetensors")
    weights = {"format": "safetensors", "architecture": "tiny_linear"}
    rows = [
        {"name": n, "role": r, "file": f"{n}.safetensors", **weights} for n, r in (("mine", "source"), (name, role))
    ]
    models = zoo(place, *rows, name=f"{name}.toml")
    return models, committed(place, out, {"models": models, "innocents": place / "innocents.toml"}, **options)


def test_a_helper_that_the_file_does_not_describe_is_one_line(verify, judged, place, tmp_path):
    models, made = helped(place, tmp_path / "C", "helper", "reference", methods="ipguard")
    folder, _ = verify(made)
    with pytest.raises(BenchError, match=r"mine.toml does not describe helper \(reference\), which was committed"):
        judged(folder)
    assert judged(folder, source=models).ruling == Ruling.HOLDS


def test_what_was_made_with_a_described_helper_cannot_be_judged(verify, judged, place, tmp_path):
    """Such a helper may be the suspect under another name, or its student: then the queries are tuned on it."""
    options = {"methods": "sac_w,ipguard", "set": {"sac_w.surrogates": 1}}
    models, made = helped(place, tmp_path / "C", "friend", "surrogate", **options)
    folder, _ = verify(made)
    found = {m.method: m for m in judged(folder, source=models).methods}
    assert found["ipguard"].origin == Origin.EXACT
    assert (
        found["sac_w"].origin == Origin.CANNOT_TELL and "it is made with friend, and nobody sees" in found["sac_w"].text
    )


def test_a_source_that_is_described_otherwise_is_one_line(commitment, verify, judged, place, tmp_path):
    folder, _ = verify(commitment)
    row = {"name": "mine", "role": "source", "file": place / "mine.safetensors", "format": "safetensors"}
    models = zoo(tmp_path, {**row, "architecture": "tiny_linear", "mean": [0.5], "std": [1.0]}, name="other.toml")
    with pytest.raises(BenchError, match=r"model 'mine': mean: it is .*0\.5.*, and None was committed"):
        judged(folder, source=models)


def test_a_commitment_without_a_spec_is_one_line(verify, judged, tmp_path, place):
    from small_commitment import small_commitment

    found = small_commitment(tmp_path / "S")
    folder, _ = verify(found)
    with pytest.raises(BenchError, match=r"commitment\.json holds no Spec that bench wrote"):
        judged(folder)


def test_a_spec_without_a_dataset_is_one_line(commitment, verify, judged, tmp_path):
    place = tmp_path / "C"
    shutil.copytree(commitment.folder, place)
    content = json.loads((place / "commitment.json").read_text())
    (place / "commitment.json").write_text(json.dumps(content | {"spec": content["spec"] | {"datasets": []}}))
    manifest.write(place)
    folder, _ = verify(commitment_files.read(place))
    with pytest.raises(BenchError, match=r"commitment\.json holds no Spec that bench wrote: it names no dataset"):
        judged(folder)


def test_a_changed_file_is_one_line(commitment, verify, judged):
    folder, _ = verify(commitment)
    text = (folder / "commitment" / "nulls.csv").read_text()
    (folder / "commitment" / "nulls.csv").write_text(text.replace("innocent-3,", "innocent-x,", 1))
    with pytest.raises(BenchError, match=r"nulls\.csv was changed: line 5: innocent-x"):
        judged(folder)


def test_no_evidence_at_all(judged, tmp_path):
    with pytest.raises(BenchError, match=r"evidence\.json cannot be read"):
        judged(tmp_path)


METHOD = '''
"""A method that asks noise."""
from dataclasses import dataclass
import torch
from bench import Fingerprint, hookimpl


@dataclass(frozen=True)
class Noise(Fingerprint):
    """Match labels of noise."""

    name: str = "static"
    version: int = VERSION
    samples: int = 40
    access = "labels"

    def extract(self, source, data, helpers, context):
        random = context.generator
        points = torch.rand(self.samples, *data.train.images.shape[1:], generator=random) SCALE
        with torch.no_grad():
            return {"points": points, "labels": source(points).argmax(1)}

    def score(self, fingerprint, suspect):
        return float((suspect.labels(fingerprint["points"]) == fingerprint["labels"]).double().mean())


@hookimpl
def bench_methods():
    return [Noise()]
'''


def plugin(path, version=1, scale=""):
    path.write_text(METHOD.replace("VERSION", str(version)).replace("SCALE", scale))
    return path


@pytest.fixture(scope="module")
def noisy(place, store, tmp_path_factory):
    """Return evidence by a method of a plugin file."""
    folder = tmp_path_factory.mktemp("noisy")
    first = plugin(folder / "noise.py")
    files, plugins = {"models": place / "mine.toml", "innocents": place / "innocents.toml"}, [place / "tiny.py", first]
    made = committed(place, folder / "C", files, methods="static", plugins=plugins, store=store)
    row = {"name": "theirs", "role": "suspect", "file": place / "stolen-suspect.safetensors", "format": "safetensors"}
    models = zoo(folder, {**row, "architecture": "tiny_linear"}, name="theirs.toml")
    with pytest.MonkeyPatch.context() as inline:
        inline.setattr(verification, "SupervisedProcess", InlineProcess)
        bench.verify(models, commitment=made.folder, out=folder / "E", alpha=0.1, plugins=plugins)
    return folder / "E"


@pytest.fixture
def noise(place, noisy, tmp_path, monkeypatch):
    """Return what judges evidence by a method of a plugin file with another such file."""
    monkeypatch.setattr(judge, "elsewhere", lambda *_: "it is not tried")
    shutil.copytree(noisy, tmp_path / "E")

    def judged_(*more, **options):
        return bench.judge(
            tmp_path / "E", place / "mine.toml", plugins=[place / "tiny.py", *more], progress=False, **options
        )

    return judged_


def test_a_method_of_a_plugin(noise, tmp_path):
    assert noise(plugin(tmp_path / "noise.py")).methods[0].origin == Origin.EXACT


def test_a_missing_method(noise):
    found = noise()
    assert found.ruling == Ruling.CANNOT_TELL and found.code == 3
    assert "static version 1 of noise.py is not usable here: Unknown method 'static'" in found.methods[0].text


def test_a_method_of_another_version(noise, tmp_path):
    found = noise(plugin(tmp_path / "noise.py", version=2))
    assert found.ruling == Ruling.CANNOT_TELL
    assert found.methods[0].text == "static is version 2 here, and was version 1: install that one"


def test_a_method_with_other_code(noise, tmp_path):
    found = noise(plugin(tmp_path / "noise.py", scale="* 0.9"))
    assert found.ruling == Ruling.CANNOT_TELL
    seen, _, why = found.methods[0].text.rpartition("; ")
    assert seen.startswith("fingerprint 0: ") and "points" in seen
    assert why == "the code of method static is other code here than was committed"


def test_other_code_that_fails_refutes_nothing(noise, tmp_path):
    file = plugin(tmp_path / "noise.py")
    line = '        raise BenchError("closed today")\n'
    text = file.read_text().replace("import Fingerprint,", "import BenchError, Fingerprint,")
    file.write_text(text.replace("(self, fingerprint, suspect):\n", f"(self, fingerprint, suspect):\n{line}"))
    (method,) = noise(file).methods
    assert (method.origin, method.text.split(": ")[-1]) == (Origin.CANNOT_TELL, "closed today")


def test_other_code_of_a_method_without_a_score_is_not_tried(noise, noisy, place, tmp_path, monkeypatch):
    """No innocent's score was used, so how the code scores innocents does not matter."""
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    models = tmp_path / "elsewhere.toml"
    models.write_text((noisy.parent / "theirs.toml").read_text() + 'trained_on = "noisy_letters"\n')
    shutil.rmtree(tmp_path / "E")
    plugins = [place / "tiny.py", noisy.parent / "noise.py"]
    found = bench.verify(models, commitment=noisy.parent / "C", out=tmp_path / "E", alpha=0.1, plugins=plugins)
    assert "cannot bridge" in found.methods[0].reason
    file = plugin(tmp_path / "noise.py")
    file.write_text(file.read_text().replace(".mean())", ".mean()) * 0.5"))
    assert noise(file).ruling == Ruling.HOLDS


@pytest.mark.parametrize(
    ("score", "ruling"),
    [
        ("1 - (1 - float(_))", Ruling.HOLDS),
        ("float(_) ** 2", Ruling.CANNOT_TELL),  # the source has 1 as before, but not through a transport
    ],
)
def test_scores_by_other_code_of_the_same_version_are_compared_with_the_committed_ones(
    noise, noisy, place, tmp_path, monkeypatch, score, ruling
):
    """Innocents were scored by one code, the suspect by another one."""
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    file, before = plugin(tmp_path / "noise.py"), "float((suspect.labels"
    start, _, end = file.read_text().partition(before)
    end, _, rest = end.partition(".mean())")
    file.write_text(f"{start}{score.replace('float(_)', f'{before}{end}.mean())')}{rest}")
    shutil.rmtree(tmp_path / "E")
    found = bench.verify(
        noisy.parent / "theirs.toml",
        commitment=noisy.parent / "C",
        out=tmp_path / "E",
        alpha=0.1,
        plugins=[place / "tiny.py", file],
    )
    (finding,) = found.evidence.evidence.findings
    assert finding.kind == "code" and not finding.blocks and "other code of static is installed" in finding.text
    assert f"Finding (code): {finding.text}" in str(found)
    judged = noise(file)
    assert judged.ruling == ruling
    text = judged.methods[0].text
    assert "its code is other code here than was committed" in text if ruling == Ruling.CANNOT_TELL else not text


def test_verify_and_judge_mean_the_same_by_other_code(commitment):
    """No commitment has the older form of digests, and `judge` does not accept it."""
    registry, (method, *_) = load_registry(), commitment.commitment.methods
    current, older = registry.source_digests("method", method.name)
    assert code_finding(registry, [structs.replace(method, source_digest=current)]) is None
    found = code_finding(registry, [structs.replace(method, source_digest=older)])
    assert found is not None and found.figures == {"methods": [method.name]}


def test_a_dataset_with_other_files(commitment, verify, judged, tmp_path, monkeypatch, reproducible):
    monkeypatch.setattr(regeneration, "content_digest", lambda *_: "0" * 64)
    folder, _ = verify(commitment)
    assert judged(folder).ruling == Ruling.HOLDS  # what is equal does not depend on files that differ
    folder, _ = verify(forged(commitment, tuned(commitment, "ipguard"), tmp_path / "F"), "innocent", "E2")
    found = judged(folder)
    assert found.ruling == Ruling.CANNOT_TELL
    assert found.methods[1].text.startswith("fingerprint 0: ")
    assert found.methods[1].text.endswith("; the files of noisy_digits are others here than were committed")


def test_a_dataset_that_is_not_there(commitment, verify, judged, monkeypatch, place):
    def absent(*_):
        raise BenchError("noisy_digits is not in the data folder")

    monkeypatch.setattr("bench.execution.preparation.ready", absent)
    folder, _ = verify(commitment)
    with pytest.raises(BenchError, match="is not in the data folder"):
        judged(folder)


def test_nothing_is_left_behind(commitment, verify, judged, monkeypatch, tmp_path, place):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    folder, _ = verify(commitment)
    before = sorted(p.name for p in folder.rglob("*"))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert judged(folder).ruling == Ruling.HOLDS
    assert not list(temporary.iterdir()) and sorted(p.name for p in folder.rglob("*")) == before


# --- likeness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (torch.zeros(20, 1, 8, 8), torch.full((20, 1, 8, 8), PIXEL / 2), True),
        (torch.zeros(20, 1, 8, 8), torch.full((20, 1, 8, 8), PIXEL * 2), False),
        (torch.zeros(20, 1, 8, 8), torch.full((20, 1, 8, 8), 0.0009), True),  # pixels within 0.001
        (torch.zeros(20, 1, 8, 8), torch.full((20, 1, 8, 8), 0.0011), False),
        (torch.zeros(20, 1, 8, 8), torch.zeros(20, 1, 8, 7), False),
        (torch.zeros(20, 1, 8, 8, dtype=torch.uint8), torch.ones(20, 1, 8, 8, dtype=torch.uint8), False),
        (torch.arange(100), torch.arange(100), True),
        (torch.arange(100), torch.arange(100).clamp_max(96), True),
        (torch.arange(100), torch.arange(100).clamp_max(94), True),  # 95 of 100 rows are the same
        (torch.arange(100), torch.arange(100).clamp_max(93), False),
        (torch.arange(100), torch.arange(100).clamp_max(90), False),
        (torch.arange(100), torch.arange(100).float(), False),
        (torch.full((3, 4), torch.nan), torch.full((3, 4), torch.nan), False),
        (torch.full((3, 4), torch.inf), torch.full((3, 4), torch.inf), True),
        (torch.tensor(1.0), torch.tensor(1.0000001), True),
        (torch.tensor(1.0), torch.tensor(1.1), False),
        (torch.zeros(0, 3), torch.zeros(0, 3), True),
        (torch.tensor([[1e4, 0.0]]), torch.tensor([[1e4, 5.0]]), True),
        (torch.tensor([[1e4, 0.0]]), torch.tensor([[1e4, 9.9]]), True),  # within 0.1 % of the largest number
        (torch.tensor([[1e4, 0.0]]), torch.tensor([[1e4, 10.1]]), False),
        (torch.tensor([True, False]), torch.tensor([True, True]), False),
        (torch.cat([torch.tensor([1e7]), torch.rand(99)]), torch.rand(100), False),  # its own scale decides nothing
        (torch.cat([torch.tensor([1e7]), torch.ones(99)]), torch.ones(100), False),  # nor is a free row without bounds
        (torch.cat([torch.tensor([-1.0]), torch.ones(99)]), torch.linspace(-1, 1, 100).sign(), False),
        (torch.cat([torch.tensor([torch.inf]), torch.ones(99)]), torch.ones(100), False),
        (torch.cat([torch.tensor([torch.nan]), torch.ones(99)]), torch.ones(100), False),
        (torch.arange(100.0), torch.cat([torch.tensor([50.0]), torch.arange(1.0, 100)]), True),  # within what was made
        (torch.cat([torch.full((1, 1, 8, 8), 2.1), torch.zeros(19, 1, 8, 8)]), torch.zeros(20, 1, 8, 8), False),
        (torch.cat([torch.ones(1, 1, 8, 8), torch.zeros(19, 1, 8, 8)]), torch.zeros(20, 1, 8, 8), True),
    ],
)
def test_likeness(one, other, alike):
    (found,) = compared({"t": one}, {"t": other}, (1, 8, 8))
    assert found.alike == alike, str(found)


def test_likeness_of_missing_tensors():
    found = compared({"a": torch.zeros(2)}, {"b": torch.zeros(2)}, (1, 8, 8))
    assert [f.tensor for f in found] == ["a", "b"] and not any(f.alike for f in found)
