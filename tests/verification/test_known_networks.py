"""A suspect that the commitment knows already: the source, an innocent, a known copy."""

import pytest
from msgspec import structs
from small_commitment import small_commitment

from bench.verification import commitment_files, known_networks
from bench.verification.judgement import judge
from bench.verification.schema import CopyScore, MethodResult

NEW = "e" * 64


@pytest.fixture
def folder(tmp_path):
    small_commitment(tmp_path / "C")
    return commitment_files.read(tmp_path / "C")


def test_an_unknown_network_is_no_finding(folder):
    assert known_networks.findings(NEW, folder) == []


def test_an_innocent_is_not_compared_with_itself(folder):
    method = folder.commitment.methods[0].name
    folder.__dict__["nulls"] = [structs.replace(folder.nulls[0], digest=NEW, model="alone"), *folder.nulls[1:]]
    (found,) = known_networks.findings(NEW, folder)
    assert found.text == "it is alone, one of the innocents: the content is the same"
    result = judge(folder, 0.05, [MethodResult(method=method, queries=1, draws=[1e9])], [found])
    assert result.verdict == "cannot tell" and result.reasons == [f"{method}: {found.text}"]


def test_the_source_and_a_known_copy_are_named_and_judged(folder):
    method = folder.commitment.methods[0].name
    copy = CopyScore(model="known", attack="prune", digest=NEW, accuracy=None, method=method, score=0.0)
    folder.__dict__["copies"] = [copy]
    (found,) = known_networks.findings(NEW, folder)
    assert found.text == "it is known, a known copy (prune): the content is the same" and not found.blocks
    (found,) = known_networks.findings(folder.commitment.source.digest, folder)
    assert found.text == "it is the source itself: the content is the same" and not found.blocks


@pytest.mark.parametrize(("role", "blocks"), [("surrogate", ["all"]), ("reference", ["all"]), ("stolen", None)])
def test_a_helper_is_not_judged_by_what_was_made_with_it(folder, role, blocks):
    folder.commitment.spec["models"] = [{"name": "helper", "role": role, "sha256": NEW}]
    found = known_networks.findings(NEW, folder)
    assert [f.blocks for f in found] == ([blocks] if blocks else [])
    assert all(f.text.startswith(f"it is helper, the {role} with which fingerprints were made") for f in found)
