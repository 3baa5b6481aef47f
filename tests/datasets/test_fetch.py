"""Downloads against a local server, hostile archives, and what `bench data` says."""

import errno
import fcntl
import gzip
import hashlib
import io
import json
import os
import stat
import sys
import tarfile
import threading
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench import BenchError, Dataset, Download
from bench.cli import main
from bench.datasets.extraction import unpack
from bench.datasets.fetch import fetch
from bench.datasets.files import absent, data_root, problems, ready, verify

CONTENT = bytes(range(256)) * 4000


def md5(content):
    return "md5:" + hashlib.md5(content).hexdigest()


def make(files, downloads=(), check=None):
    """Make a dataset as a third party would write it."""

    @dataclass(frozen=True)
    class Toy(Dataset):
        name: str = "toy"
        version: int = 1

        def check(self, root):
            return check(root) if check else []

    Toy.checksums, Toy.downloads = files, tuple(downloads)
    return Toy()


def tar(members, mode="w:gz"):
    """Make a tar of (name, content) pairs, or of TarInfo objects."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def packed(members):
    """Make a zip of (name or ZipInfo, content) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


class Server:
    """Files over HTTP. `manner`: ranges, ignores (Range), cuts (after half), huge (says so), shifted (wrong range)."""

    def __init__(self):
        self.files, self.asked, self.manner = {}, [], "ranges"
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with suppress(ConnectionError):  # a client that has seen enough
                    owner.answer(self)

            def log_message(self, *_):
                """Print nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        content = self.files.get(request.path.lstrip("/"))
        if content is None:
            return request.send_error(404)
        start = 0
        if wanted and self.manner != "ignores":
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(content)}")
                request.send_header("Content-Length", "0")
                return request.end_headers()
            request.send_response(206)
            shown = start + 1 if self.manner == "shifted" else start
            request.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
        else:
            request.send_response(200)
        rest = content[start:]
        request.send_header("Content-Length", str(10**15 if self.manner == "huge" else len(rest)))
        request.end_headers()
        request.wfile.write(rest[: len(rest) // 2] if self.manner == "cuts" else rest)
        return None


@pytest.fixture
def server():
    server = Server()
    server.thread.start()
    yield server
    server.http.shutdown()
    server.thread.join()
    server.http.server_close()


@pytest.fixture
def plain(server):
    """A dataset of one file that is used as it is."""
    server.files["plain.bin"] = CONTENT
    return make({"plain.bin": md5(CONTENT)}, [Download(f"{server.url}/plain.bin", "plain.bin", md5(CONTENT))])


def one_line(error):
    return "\n" not in str(error.value)


# --- getting it -----------------------------------------------------------------------------------------------------


def test_a_file_is_fetched_once_and_then_left_alone(server, plain, tmp_path):
    seen = []
    fetch(plain, tmp_path / "new", lambda *progress: seen.append(progress))
    assert (tmp_path / "new" / "plain.bin").read_bytes() == CONTENT
    assert seen[-1] == ("plain.bin", len(CONTENT), len(CONTENT))
    fetch(plain, tmp_path / "new")
    assert len(server.asked) == 1
    assert not list((tmp_path / "new").glob("*.part"))


@pytest.mark.parametrize("manner", ["ranges", "ignores"])
def test_an_interrupted_download_is_resumed(server, plain, tmp_path, manner):
    server.manner = manner
    (tmp_path / "plain.bin.part").write_bytes(CONTENT[:1000])
    fetch(plain, tmp_path)
    assert server.asked == [("/plain.bin", "bytes=1000-")]
    assert (tmp_path / "plain.bin").read_bytes() == CONTENT


def test_a_complete_part_is_not_downloaded_again(server, plain, tmp_path):
    (tmp_path / "plain.bin.part").write_bytes(CONTENT)
    fetch(plain, tmp_path)
    assert server.asked == [("/plain.bin", f"bytes={len(CONTENT)}-")]
    assert (tmp_path / "plain.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT + b"more", b"x" * 1000, b"x" * len(CONTENT)])
def test_a_part_of_another_file_is_thrown_away(plain, tmp_path, part):
    (tmp_path / "plain.bin.part").write_bytes(part)
    fetch(plain, tmp_path)
    assert (tmp_path / "plain.bin").read_bytes() == CONTENT


def test_a_connection_that_ends_early_is_an_error_and_the_next_call_goes_on(server, plain, tmp_path):
    server.manner = "cuts"
    with pytest.raises(BenchError, match=r"512,000 of 1,024,000 bytes.*same command again") as error:
        fetch(plain, tmp_path)
    assert one_line(error)
    assert not (tmp_path / "plain.bin").exists()
    server.manner = "ranges"
    fetch(plain, tmp_path)
    assert server.asked[-1] == ("/plain.bin", "bytes=512000-")
    assert verify(plain, tmp_path) == []


def test_a_server_that_sends_another_range_is_not_believed(server, plain, tmp_path):
    server.manner = "shifted"
    (tmp_path / "plain.bin.part").write_bytes(CONTENT[:1000])
    with pytest.raises(BenchError, match=r"206"):
        fetch(plain, tmp_path)
    assert not (tmp_path / "plain.bin").exists()


def test_a_wrong_checksum_is_found_before_anything_is_unpacked(server, tmp_path):
    server.files["a.tar.gz"] = tar([("a/x", b"evil")])
    toy = make({"a/x": ""}, [Download(f"{server.url}/a.tar.gz", "a.tar.gz", md5(b"other"), ".")])
    with pytest.raises(BenchError, match=r"a.tar.gz is not the published file \(md5:.*--from") as error:
        fetch(toy, tmp_path)
    assert one_line(error)
    assert [p.name for p in tmp_path.iterdir()] in ([], [".fetch.lock"])


def test_errors_of_the_network_are_one_line_with_the_way_out(server, plain, tmp_path):
    del server.files["plain.bin"]
    with pytest.raises(BenchError, match=r"answered 404.*--from") as error:
        fetch(plain, tmp_path)
    assert one_line(error)
    gone = make({"x": ""}, [Download("http://127.0.0.1:9/x", "x")])
    with pytest.raises(BenchError, match=r"http://127.0.0.1:9/x could not be read.*--from FOLDER") as error:
        fetch(gone, tmp_path)
    assert one_line(error)


def test_a_disk_too_small_is_reported_before_it_is_filled(server, plain, tmp_path):
    server.manner = "huge"
    with pytest.raises(BenchError, match=r"the disk is full.*--data or [$]BENCH_DATA") as error:
        fetch(plain, tmp_path)
    assert one_line(error)


def test_a_data_folder_that_is_a_file_is_an_error(plain, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match=r"cannot be written.*--data"):
        fetch(plain, tmp_path / "file")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_only_http_is_spoken(url, tmp_path):
    with pytest.raises(BenchError, match=r"neither http nor https"):
        fetch(make({"x": ""}, [Download(url, "x")]), tmp_path)


def test_a_mirror_may_be_a_folder_or_a_url(server, tmp_path):
    toy = make({"plain.bin": md5(CONTENT)}, [Download("http://127.0.0.1:9/y", "plain.bin", md5(CONTENT))])
    folder = tmp_path / "mirror"
    folder.mkdir()
    with pytest.raises(BenchError, match=r"There is no plain.bin in"):
        fetch(toy, tmp_path / "one", mirror=str(folder))
    (folder / "plain.bin").write_bytes(CONTENT)
    fetch(toy, tmp_path / "one", mirror=str(folder))
    server.files["deep/plain.bin"] = CONTENT
    fetch(toy, tmp_path / "two", mirror=f"{server.url}/deep/")
    for name in ("one", "two"):
        assert (tmp_path / name / "plain.bin").read_bytes() == CONTENT
    (folder / "plain.bin").write_bytes(b"other")
    with pytest.raises(BenchError, match=r"not the published file"):
        fetch(toy, tmp_path / "three", mirror=str(folder))


def test_the_digest_of_an_unpublished_checksum_is_recorded(server, tmp_path):
    server.files["a.zip"] = packed([("a/x", b"1")])
    toy = make({"a/x": ""}, [Download(f"{server.url}/a.zip", "a.zip", "", ".")])
    fetch(toy, tmp_path)
    record = json.loads((tmp_path / "a.zip.json").read_text())
    digest = "sha256:" + hashlib.sha256(server.files["a.zip"]).hexdigest()
    assert record == {"from": f"{server.url}/a.zip", "checksum": digest, "bytes": len(server.files["a.zip"])}
    (tmp_path / "a" / "x").unlink()
    fetch(toy, tmp_path)
    assert len(server.asked) == 1, "the archive was there, and its recorded digest held"
    (tmp_path / "a" / "x").unlink()
    (tmp_path / "a.zip").write_bytes(b"damaged")
    fetch(toy, tmp_path)
    assert len(server.asked) == 2


def test_an_archive_put_there_by_hand_is_used(tmp_path):
    (tmp_path / "a.zip").write_bytes(packed([("a/x", b"1")]))
    fetch(make({"a/x": md5(b"1")}, [Download("http://127.0.0.1:9/a.zip", "a.zip", "", ".")]), tmp_path)
    assert (tmp_path / "a" / "x").read_bytes() == b"1"
    assert json.loads((tmp_path / "a.zip.json").read_text())["checksum"].startswith("sha256:")


def test_a_damaged_archive_that_nothing_vouches_for_is_put_aside(server, tmp_path):
    good = packed([("a/x", CONTENT)])
    server.files["a.zip"] = good[: len(good) // 2]
    toy = make({"a/x": md5(CONTENT)}, [Download(f"{server.url}/a.zip", "a.zip", "", ".")])
    with pytest.raises(BenchError, match=r"a.zip is damaged"):
        fetch(toy, tmp_path)
    server.files["a.zip"] = good
    fetch(toy, tmp_path)
    assert verify(toy, tmp_path) == []


def test_what_was_unpacked_is_verified(server, tmp_path):
    server.files["a.zip"] = packed([("a/x", b"1")])
    toy = make({"a/y": ""}, [Download(f"{server.url}/a.zip", "a.zip", "", ".")])
    with pytest.raises(BenchError, match=r"a/y: missing"):
        fetch(toy, tmp_path)


def test_a_dataset_without_archives_says_so(tmp_path):
    fetch(make({}), tmp_path / "never")
    assert not (tmp_path / "never").exists()
    with pytest.raises(BenchError, match=r"declares no download.*x: missing"):
        fetch(make({"x": ""}), tmp_path)


# --- unpacking ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "zip"])
def test_every_kind_of_archive_is_unpacked_beside_what_is_there(tmp_path, kind):
    members = [("top/a/one", b"1"), ("top/two", b""), ("three", b"3")]
    mode = {"tar": "w", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}.get(kind, "w:gz")
    content = packed(members) if kind == "zip" else tar(members, mode)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / f"x.{kind}").write_bytes(content)
    root = tmp_path / "root"
    (root / "into" / "top").mkdir(parents=True)
    (root / "into" / "top" / "mine").write_text("keep")
    (root / "into" / "top" / "two").write_text("damaged")
    files = {f"into/{name}": md5(data) for name, data in members}
    fetch(make(files, [Download("http://h/x", f"x.{kind}", "", "into")]), root, mirror=str(tmp_path / "mirror"))
    assert (root / "into" / "top" / "mine").read_text() == "keep"
    assert not list(root.glob("**/.x.*")), "nothing is left beside it"


def test_a_gz_names_the_unpacked_file(server, tmp_path):
    server.files["x.gz"] = gzip.compress(CONTENT)
    archive = Download(f"{server.url}/x.gz", "deep/x.gz", md5(server.files["x.gz"]), "deep/y")
    toy = make({"deep/y": md5(CONTENT)}, [archive])
    fetch(toy, tmp_path)
    assert (tmp_path / "deep" / "y").read_bytes() == CONTENT


def special(kind, name="a/evil", target="../../outside"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link():
    info = zipfile.ZipInfo("a/evil")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


TARS = {
    "parent": [("a/../../evil", b"1")],
    "absolute": [("/tmp/evil", b"1")],
    "drive": [("C:/evil", b"1")],
    "backslash": [("a\\..\\..\\evil", b"1")],
    "symbolic link": [special(tarfile.SYMTYPE), ("a/evil/x", b"1")],
    "hard link": [special(tarfile.LNKTYPE)],
    "device": [special(tarfile.CHRTYPE)],
    "pipe": [special(tarfile.FIFOTYPE)],
    "twice": [("a/evil", b"1"), ("a/evil", b"2")],
}
ZIPS = {
    "parent": [("a/../../evil", b"1")],
    "absolute": [("/tmp/evil", b"1")],
    "drive": [("C:/evil", b"1")],
    "backslash": [("..\\evil", b"1")],
    "symbolic link": [(zip_link(), b"../../outside")],
}


@pytest.mark.parametrize(
    ("name", "content"),
    [*((f"{k}.tar.gz", tar(m)) for k, m in TARS.items()), *((f"{k}.zip", packed(m)) for k, m in ZIPS.items())],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_archive_is_refused_by_the_name_of_its_member(tmp_path, name, content):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / name).write_bytes(content)
    root = tmp_path / "in" / "root"
    toy = make({"a/x": ""}, [Download("http://h/x", name, md5(content), ".")])
    before = sorted(p for p in tmp_path.rglob("*") if "in" not in p.parts)
    with pytest.raises(BenchError, match=r"evil.*extraction stopped") as error:
        fetch(toy, root, mirror=str(tmp_path / "mirror"))
    assert one_line(error)
    assert sorted(p.name for p in root.rglob("*") if p.name != ".fetch.lock") == [name]
    assert sorted(p for p in (tmp_path / "in").iterdir()) == [root]
    assert before == sorted(p for p in tmp_path.rglob("*") if "in" not in p.parts)


@pytest.mark.parametrize("kind", ["tar.gz", "zip", "gz"])
def test_a_member_beyond_the_size_limit_stops_the_extraction(tmp_path, kind):
    """The limit is lowered to a thousand bytes, so that a megabyte, which packs well, exceeds it."""
    zeros = bytes(1 << 20)
    archive = tmp_path / f"large.{kind}"
    packers = {"tar.gz": lambda: tar([("large", zeros)]), "zip": lambda: packed([("large", zeros)])}
    archive.write_bytes(packers.get(kind, lambda: gzip.compress(zeros))())
    unpack(archive, tmp_path / "enough", size_limit=1 << 20)
    with pytest.raises(BenchError, match=r"'large' exceeds the size limit; extraction stopped"):
        unpack(archive, tmp_path / "out", size_limit=1000)


def test_an_archive_of_too_many_members_is_refused(tmp_path):
    archive = tmp_path / "many.tar"
    archive.write_bytes(tar([(f"m{i}", b"") for i in range(6)], "w"))
    unpack(archive, tmp_path / "enough", most_members=6)
    with pytest.raises(BenchError, match=r"over 5 members, at 'm5'"):
        unpack(archive, tmp_path / "out", most_members=5)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.tar", "a.zip", "a.gz", "a.rar"])
def test_rubbish_is_no_archive(tmp_path, name):
    (tmp_path / name).write_bytes(b"rubbish" * 1000)
    with pytest.raises(BenchError, match=f"{name}.*archive") as error:
        unpack(tmp_path / name, tmp_path / "out")
    assert one_line(error)


def test_an_encrypted_zip_is_refused(tmp_path):
    content = bytearray(packed([("secret", b"1")]))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(bytes(content))
    with pytest.raises(BenchError, match=r"'secret' is encrypted"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


# --- what is there --------------------------------------------------------------------------------------------------


def test_verify_names_each_file_and_then_asks_the_dataset(tmp_path):
    toy = make({"a": md5(b"1"), "b": md5(b"2"), "c": ""}, check=lambda root: [f"{(root / 'c').read_text()}: odd"])
    assert verify(toy, tmp_path) == absent(toy, tmp_path) == ["a: missing", "b: missing", "c: missing"]
    for name in "abc":
        (tmp_path / name).write_text("1")
    assert absent(toy, tmp_path) == []
    assert verify(toy, tmp_path) == [f"b: damaged ({md5(b'1')} instead of {md5(b'2')})"]
    (tmp_path / "b").write_text("2")
    assert verify(toy, tmp_path) == ["1: odd"]


def test_ready_names_the_file_and_the_command(tmp_path):
    toy = make({"a": md5(b"1"), "b": ""}, [Download("http://h/a", "a")])
    message = r"toy cannot.*a: missing \(and 1 more\).*bench data fetch toy.*--data"
    with pytest.raises(BenchError, match=message) as error:
        ready(toy, tmp_path)
    assert one_line(error)
    for name in "ab":
        (tmp_path / name).write_text("2")
    with pytest.raises(BenchError, match=r"a: damaged.*bench data fetch toy"):
        ready(toy, tmp_path)
    (tmp_path / "a").write_text("1")
    ready(toy, tmp_path)
    with pytest.raises(BenchError, match=r"a: missing.*Point --data"):
        ready(make({"a": ""}), tmp_path / "elsewhere")


@pytest.mark.parametrize("writable", [True, False])
def test_a_file_is_read_again_only_after_it_changed(tmp_path, writable):
    if not writable:
        (tmp_path / ".verified.json").mkdir()
    calls = []
    toy = make({"a": md5(b"1")}, check=lambda root: calls.append(root) or [])
    (tmp_path / "a").write_text("1")
    ready(toy, tmp_path)
    ready(toy, tmp_path)
    assert len(calls) == 1
    assert len(verify(toy, tmp_path)) == 0
    assert len(calls) == 2, "verify reads everything"
    before = (tmp_path / "a").stat()
    (tmp_path / "a").write_text("2")
    os.utime(tmp_path / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BenchError, match=r"a: damaged"):
        ready(toy, tmp_path)


def test_a_check_is_repeated_after_files_came_or_went_in_the_folders_that_it_read(tmp_path):
    calls = []

    def check(root):
        calls.append([path.read_text() for path in sorted((root / "many").glob("*"))])
        return []

    toy = make({"a": ""}, check=check)
    (tmp_path / "a").write_text("1")
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "x").write_text("x")
    for _ in range(2):
        assert problems(toy, tmp_path) == []
        assert calls == [["x"]]
    (tmp_path / "many" / "x").rename(tmp_path / "x")
    assert problems(toy, tmp_path) == []
    assert calls == [["x"], []]


def test_a_damaged_memory_is_forgotten(tmp_path):
    (tmp_path / "a").write_text("2")
    (tmp_path / ".verified.json").write_text("[1, 2")
    assert len(problems(make({"a": md5(b"1")}), tmp_path)) == 1


def test_an_unknown_kind_of_checksum_is_an_error(tmp_path):
    (tmp_path / "a").write_text("1")
    with pytest.raises(BenchError, match=r"write md5:.* or sha256:"):
        verify(make({"a": "crc32:1"}), tmp_path)


def test_the_data_folder_is_named_by_option_then_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert data_root("elsewhere") == Path("elsewhere")
    assert data_root() == tmp_path
    monkeypatch.delenv("BENCH_DATA")
    assert data_root().parts[-2:] == ("fingerprint-bench", "data")


# --- bench data -----------------------------------------------------------------------------------------------------

PLUGIN = '''
from dataclasses import dataclass
from bench import Dataset, Download, Split, hookimpl

@dataclass(frozen=True)
class Far(Dataset):
    """Be far away."""
    name: str = "far_away"
    version: int = 1
    file: str = "plain.bin"
    num_classes = 2
    shape = (1, 8, 8)
    downloads = (Download("{url}/plain.bin", "plain.bin", "{checksum}"),)

    @property
    def checksums(self):
        return {{self.file: "{checksum}"}}

    def load(self, root, train):
        raise NotImplementedError

@hookimpl
def bench_datasets():
    return [Far()]
'''


SILENT = """
from dataclasses import dataclass
import torch
from bench import Dataset, Split, hookimpl

@dataclass(frozen=True)
class Silent(Dataset):
    name: str = "silent"
    version: int = 1
    num_classes = 2
    shape = (1, 8, 8)

    def load(self, root, train):
        images = torch.frombuffer(bytearray((root / "images.bin").read_bytes()), dtype=torch.uint8)
        return Split(images.reshape(4, 1, 8, 8), torch.arange(4) % 2)

@hookimpl
def bench_datasets():
    return [Silent()]
"""
MANY = """
    checksums = {f"f{i:04}": "" for i in range(3000)}
"""


@pytest.fixture
def bench(monkeypatch, capfd, tmp_path, server):
    """Type `bench data ...`; gives exit code, output and errors."""
    server.files["plain.bin"] = CONTENT
    plugin = tmp_path / "far_away.py"
    plugin.write_text(PLUGIN.format(url=server.url, checksum=md5(CONTENT)))

    def type_(command, *arguments):
        options = ["--data", str(tmp_path / "data"), "--plugin", str(plugin)]
        monkeypatch.setattr(sys, "argv", ["bench", "data", command, *arguments, *options])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capfd.readouterr()
        return exit_.value.code, out, err

    return type_


def test_a_dataset_that_declares_archives_only_is_there_once_these_are(bench, tmp_path):
    plugin = tmp_path / "far_away.py"
    lines = plugin.read_text().splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if "@property" in line)
    plugin.write_text("".join(lines[:start] + lines[start + 3 :]))

    def row():
        return next(line for line in bench("list")[1].splitlines() if line.startswith("far_away "))

    assert "missing (1 of 1 archives; bench data fetch far_away)" in row()
    assert bench("fetch", "far_away")[0] == 0
    assert row().split() == ["far_away", "present"]


def test_bench_data_lists_fetches_and_verifies(bench, tmp_path):
    code, out, _ = bench("list")
    assert code == 0
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert rows["far_away"] == "missing (1 of 1 files; bench data fetch far_away)"
    assert rows["noisy_digits"] == "nothing to fetch"
    assert bench("verify", "far_away")[0] == 1
    code, out, err = bench("fetch", "far_away", "noisy_digits")
    assert (code, "far_away: present" in out, "noisy_digits: nothing to fetch" in out) == (0, True, True)
    assert "fetching plain.bin, 1,024,000 bytes" in err
    assert bench("verify", "far_away")[:2] == (0, "far_away: valid\n")
    (tmp_path / "data" / "plain.bin").write_bytes(b"damaged")
    assert "damaged (plain.bin: damaged" in bench("list")[1]
    code, out, _ = bench("verify", "far_away")
    assert code == 1
    assert "far_away: plain.bin: damaged" in out
    assert bench("fetch", "far_away")[0] == 0
    assert "far_away" in bench("list")[1]


def test_verify_loads_a_dataset_that_declares_no_files(bench, tmp_path):
    """Without its files it is not valid, whatever it does not declare."""
    assert bench("verify", "noisy_digits")[:2] == (0, "noisy_digits: loaded, from no file below --data\n")
    plugin = tmp_path / "silent.py"
    plugin.write_text(SILENT)
    silent = ("--plugin", str(plugin))
    code, out, _ = bench("verify", "silent", *silent)
    assert (code, out.count("\n")) == (1, 1)
    assert "silent: cannot be loaded (FileNotFoundError: " in out
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images.bin").write_bytes(bytes(256))
    assert bench("verify", "silent", *silent)[:2] == (0, "silent: loaded from 1 files without checksums\n")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("return 'no pictures'", "no pictures"),
        ("raise ValueError('two\\nlines')", "its check failed (ValueError: two)"),
        ("import bench; raise bench.BenchError('no pictures')", "no pictures"),
        ("return ['red \\x1b[31m']", "red  [31m"),
        ("return (n for n in [3])", "3"),
        ("return 7", "its check failed (TypeError: 'int' object is not iterable)"),
    ],
)
def test_a_check_of_a_plugin_is_one_line_however_it_is_written(bench, tmp_path, body, line):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images.bin").write_bytes(bytes(256))
    plugin = tmp_path / "own.py"
    text = SILENT.replace('"silent"', '"own"')
    plugin.write_text(text.replace("\n    def load", f"\n    def check(self, root):\n        {body}\n\n    def load"))
    code, out, err = bench("verify", "own", "--plugin", str(plugin))
    assert (code, out, err) == (1, f"own: {line}\n", "")
    plugin.write_text(text.replace("\n    def load", "\n    def check(self, root):\n        [1]\n\n    def load"))
    assert bench("verify", "own", "--plugin", str(plugin))[0] == 0, "a check without `return` found nothing"


def test_a_long_list_of_problems_is_cut(bench, tmp_path):
    plugin = tmp_path / "many.py"
    plugin.write_text(SILENT.replace('"silent"', '"many"').replace("\n    def load", MANY + "\n    def load"))
    code, out, _ = bench("verify", "many", "--plugin", str(plugin))
    lines = out.splitlines()
    assert (code, len(lines)) == (1, 21)
    assert lines[19:] == ["many: f0019: missing", "many: and 2,980 more"]


def test_a_dataset_with_archives_but_no_declared_files_is_fetched(server, tmp_path):
    server.files["a.zip"] = packed([("a/x", b"1")])
    toy = make({}, [Download(f"{server.url}/a.zip", "a.zip", "", ".")])
    for _ in range(2):
        fetch(toy, tmp_path)
        assert (tmp_path / "a" / "x").read_bytes() == b"1"
        assert len(server.asked) == 1


def test_bench_data_answers_wrong_usage_with_exit_code_2(bench, server):
    code, _, err = bench("fetch", "far_awey")
    assert (code, err.count("\n")) == (2, 1)
    assert "Did you mean 'far_away'?" in err
    assert bench("fetch")[0] == 2
    code, _, err = bench("fetch", "far_away", "--set", "far.file=x")
    assert (code, "--set takes DATASET.FIELD=VALUE" in err) == (2, True)
    server.files.clear()
    code, _, err = bench("fetch", "far_away")
    assert (code, "answered 404" in err, "Traceback" in err) == (2, True, False)


def test_bench_data_sets_fields_that_decide_on_files(bench):
    assert "far_away: other.bin: missing" in bench("verify", "far_away", "--set", "far_away.file=other.bin")[1]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_a_data_folder_whose_files_cannot_be_locked_is_filled(tmp_path, monkeypatch, number):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/file.bin").write_bytes(CONTENT)
    monkeypatch.setattr(fcntl, "flock", refuse)
    download = Download("https://example.org/file.bin", "file.bin", md5(CONTENT))
    fetch(make({"file.bin": md5(CONTENT)}, [download]), tmp_path / "data", mirror=str(tmp_path / "mirror"))
    assert (tmp_path / "data/file.bin").read_bytes() == CONTENT
