"""The bundled null tables of the default dataset, and the measured tables beside them."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

import bench
from bench.cli.commands.judge import command
from bench.models.description import read as read_models
from bench.stats.rates import binomial_bound
from bench.verification import manifest
from bench.verification.commitment_files import read
from bench.verification.kinds import VerdictKind
from bench.verification.recipes import read_recipes

FOLDER = Path(__file__).parents[2] / "results" / "verify-noisy_digits"
TABLES = ("verdicts.csv", "false_accusations.csv", "left_out.csv", "power.csv")


def test_every_file_has_the_digest_of_the_manifest():
    manifest.check(FOLDER, manifest.read(FOLDER), manifest.MANIFEST)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 3 << 20


def test_the_nulls_are_at_least_two_hundred_innocents_of_twelve_families():
    made = read(FOLDER / "commitment")
    for method in made.commitment.methods:
        rows = [row for row in made.nulls if row.method == method.name]
        assert len(rows) >= 200
        assert len({row.digest for row in rows}) == len(rows)
        assert {row.family for row in rows} == {family.name for family in read_recipes()}


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    """Describe the source as a suspect of another name; return the folder of evidence and the verdict."""
    source, weights = read_models(FOLDER / "source.toml")[0], (FOLDER / "source.safetensors").as_posix()
    table = (FOLDER / "source.toml").read_text().replace('"source.safetensors"', f'"{weights}"')
    folder = tmp_path_factory.mktemp("suspect")
    path = folder / "suspect.toml"
    path.write_text(table.replace(f'"{source.name}"', '"x"').replace('"source"', '"suspect"'))
    return folder / "E", bench.verify(path, commitment=FOLDER / "commitment", out=folder / "E")


def test_the_source_is_evidence_against_itself(evidence):
    _, verdict = evidence
    assert verdict.verdict == VerdictKind.EVIDENCE
    assert verdict.p_value == pytest.approx(1 / 201)


SOURCE = ("--source", str(FOLDER / "source.toml"), "--quiet")


def test_its_fingerprints_are_made_again(evidence):
    done = CliRunner().invoke(command, [str(evidence[0]), *SOURCE], standalone_mode=False, catch_exceptions=False)
    assert (done.return_value, done.stderr) == (0, "")
    assert "sac_m: regenerated" in done.stdout


@pytest.mark.parametrize("name", TABLES)
def test_measured_shares_have_their_exact_intervals(name):
    with (FOLDER / name).open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert rows
    for row in rows:
        low, high = binomial_bound(int(row["hits"]), int(row["of"]))
        assert float(row["low"]) == pytest.approx(low, abs=1e-4)
        assert float(row["high"]) == pytest.approx(high, abs=1e-4)
        assert float(row["share"]) == pytest.approx(int(row["hits"]) / int(row["of"]), abs=1e-4)


def test_the_measurement_has_twenty_sources_and_two_hundred_innocents():
    with (FOLDER / "verdicts.csv").open(newline="") as file:
        assert {int(row["of"]) for row in csv.DictReader(file)} == {20}
    with (FOLDER / "false_accusations.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert {int(row["of"]) for row in rows} == {200}
    assert {float(row["alpha"]) for row in rows} == {0.01, 0.05, 0.10}
    assert len({row["p_value"] for row in rows}) == 2
