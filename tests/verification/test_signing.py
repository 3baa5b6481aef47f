"""Signatures of manifests: made with a real key, checked by bench and by minisign, and refused in one line."""

import shutil
import subprocess
import sys

import pytest
from inline_session import InlineProcess
from small_commitment import small_commitment
from zoo_files import copied, save_onnx, trained, zoo

import bench
from bench.cli.commands.verify import command
from bench.core.errors import BenchError
from bench.frontend.commit import execute
from bench.verification import child as verification
from bench.verification import commitment
from bench.verification.commitment_files import read
from bench.verification.signing import PASSWORD, SIGNATURE, Signer, check, sign

minisign = pytest.importorskip("minisign", reason="py-minisign is not installed")


def keys(folder, name="owner", password=""):
    """Write a pair of keys; return the paths of the secret and of the public one."""
    pair = minisign.KeyPair.generate()
    public, secret = folder / f"{name}.pub", folder / f"{name}.key"
    public.write_bytes(bytes(pair.public_key))
    if password:
        pair.secret_key.encrypt(password)
    secret.write_bytes(bytes(pair.secret_key))
    return secret, public


@pytest.fixture
def signed(tmp_path):
    """Return a signed folder, and its keys."""
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "MANIFEST.sha256").write_text(f"{'0' * 64}  evidence.json\n")
    secret, public = keys(tmp_path)
    assert sign(folder, secret) == folder / SIGNATURE
    return folder, secret, public


def refusal(folder, key, act=check):
    with pytest.raises(BenchError) as caught:
        act(folder, key)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_signature_is_checked_with_the_public_key(signed):
    folder, _, public = signed
    check(folder, public)


def test_a_report_can_name_the_public_key(signed):
    _, secret, public = signed
    assert Signer(secret).public_key == public.read_text().splitlines()[1]


@pytest.mark.skipif(shutil.which("minisign") is None, reason="the program minisign is not installed")
def test_the_minisign_program_agrees_in_both_directions(signed, tmp_path):
    folder, _, public = signed
    manifest = str(folder / "MANIFEST.sha256")
    subprocess.run(["minisign", "-Vm", manifest, "-p", str(public)], check=True, capture_output=True)
    key = Signer(signed[1]).public_key
    subprocess.run(["minisign", "-Vm", manifest, "-P", key], check=True, capture_output=True)
    theirs = [str(tmp_path / "theirs.pub"), str(tmp_path / "theirs.key")]
    subprocess.run(["minisign", "-GW", "-p", theirs[0], "-s", theirs[1]], check=True, capture_output=True)
    sign(folder, tmp_path / "theirs.key")
    check(folder, tmp_path / "theirs.pub")
    (folder / SIGNATURE).unlink()
    subprocess.run(["minisign", "-Sm", manifest, "-s", theirs[1]], check=True, capture_output=True)
    check(folder, tmp_path / "theirs.pub")
    with (folder / "MANIFEST.sha256").open("a") as file:
        file.write("x")
    done = subprocess.run(["minisign", "-Vm", manifest, "-p", theirs[0]], capture_output=True)
    assert done.returncode != 0


def test_a_changed_manifest_and_a_changed_signature_are_refused(signed):
    folder, _, public = signed
    manifest = folder / "MANIFEST.sha256"
    old = manifest.read_bytes()
    manifest.write_bytes(old.replace(b"0", b"1", 1))
    assert "was changed after it was signed" in refusal(folder, public)
    manifest.write_bytes(old)
    lines = (folder / SIGNATURE).read_text().splitlines()
    (folder / SIGNATURE).write_text("\n".join([*lines[:2], "trusted comment: made by somebody else", lines[3], ""]))
    assert "was changed after it was signed" in refusal(folder, public)


def test_another_key_a_missing_signature_and_a_missing_manifest_are_refused(signed, tmp_path):
    folder, secret, public = signed
    _, other = keys(tmp_path, "other")
    assert "was made with another key" in refusal(folder, other)
    (folder / SIGNATURE).unlink()
    assert "is not signed" in refusal(folder, public)
    (folder / "MANIFEST.sha256").unlink()
    assert "MANIFEST.sha256 is no file" in refusal(folder, secret, sign)


def test_evidence_and_its_commitment_are_signed_and_replayed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    committed = small_commitment(tmp_path / "C", innocents=199)
    secret, public = keys(tmp_path)
    _, other = keys(tmp_path, "other")
    sign(committed.folder, secret)
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx")
    described = zoo(tmp_path, {"name": "theirs", "role": "suspect", "format": "onnx", "file": "theirs.onnx"})
    folder = tmp_path / "E"
    with pytest.raises(BenchError, match="is no secret key of minisign"):
        bench.verify(described, commitment=committed.folder, out=folder, sign=public)
    assert not folder.exists()
    found = bench.verify(described, commitment=committed.folder, out=folder, sign=secret)
    assert f"minisign -Vm MANIFEST.sha256 -P {Signer(secret).public_key}" in (folder / "report.html").read_text()
    check(folder, public)
    check(folder / "commitment", public)
    assert "report.html" in (folder / "MANIFEST.sha256").read_text()
    answers = [
        command.main(["--replay", str(folder), *options], standalone_mode=False)
        for options in ([], ["--public-key", str(public)])
    ]
    assert answers == [found.code] * 2
    for options in (["--replay", str(folder), "--public-key", str(other)], ["--public-key", str(public)]):
        with pytest.raises(BenchError, match=r"another key|name the folder with --replay"):
            command.main(options, standalone_mode=False)


def test_a_commitment_is_signed_when_it_is_made_and_a_wrong_key_stops_it_before(tmp_path, monkeypatch):
    made = []

    def make(request, reporter):
        made.append(small_commitment(tmp_path / "C"))
        return made[-1]

    monkeypatch.setattr(commitment, "make", make)
    secret, public = keys(tmp_path)
    with pytest.raises(BenchError, match="is no secret key of minisign"):
        execute(None, None, str(public))
    assert made == []
    assert execute(None, None, str(secret)) is made[0]
    check(tmp_path / "C", public)
    assert read(tmp_path / "C").digest == made[0].digest


def test_an_encrypted_key_needs_its_password(signed, tmp_path, monkeypatch):
    folder, _, _ = signed
    secret, public = keys(tmp_path, "locked", password="p\u00e4ss")
    monkeypatch.delenv(PASSWORD, raising=False)
    assert f"is encrypted: set the environment variable {PASSWORD}" in refusal(folder, secret, sign)
    monkeypatch.setenv(PASSWORD, "wrong")
    assert "wrong password" in refusal(folder, secret, sign)
    monkeypatch.setenv(PASSWORD, "p\u00e4ss")
    sign(folder, secret)
    check(folder, public)

    def no_memory(key, password):
        raise MemoryError

    monkeypatch.setattr(minisign.SecretKey, "decrypt", no_memory)
    assert "needs more memory" in refusal(folder, secret, sign)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"untrusted comment: x\n",
        b"untrusted comment: x\nRWQ=\n",
        b"a\nb\nc\nd\n",
        "\u00e4\n\u00e4\n".encode("latin1"),
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n-----END OPENSSH PRIVATE KEY-----\n",
        b"x" * (1 << 17),
    ],
    ids=["empty", "zeros", "half", "short", "letters", "latin1", "ssh", "large"],
)
def test_what_is_no_key_or_no_signature_is_refused(signed, tmp_path, content):
    folder, secret, public = signed
    (tmp_path / "wrong").write_bytes(content)
    refusal(folder, tmp_path / "wrong", sign)
    refusal(folder, tmp_path / "wrong")
    (folder / SIGNATURE).write_bytes(content)
    refusal(folder, public)
    assert "public key" in refusal(folder, secret)
    assert "secret key" in refusal(folder, public, sign)


def test_a_key_that_is_missing_or_a_folder_is_refused(signed, tmp_path):
    folder, _, _ = signed
    assert "is no file" in refusal(folder, tmp_path / "none", sign)
    assert "is no file" in refusal(folder, tmp_path, sign)
    assert "is no file" in refusal(folder, tmp_path / "none")


def test_without_the_library_the_extra_is_named(signed, monkeypatch):
    folder, secret, public = signed
    monkeypatch.setitem(sys.modules, "minisign", None)
    assert "fingerprint-bench[signing]" in refusal(folder, secret, sign)
    assert "fingerprint-bench[signing]" in refusal(folder, public)
    monkeypatch.setitem(sys.modules, "minisign", pytest)
    assert "another one" in refusal(folder, secret, sign)
