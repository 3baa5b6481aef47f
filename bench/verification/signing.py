"""Sign the manifest of a folder with a minisign key, and check such a signature: files on disk only, no network.

Keys and signatures are those of minisign (https://jedisct1.github.io/minisign/): Ed25519 over a BLAKE2b digest.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.core.errors import BenchError, first_line
from bench.store.atomic import write_atomically
from bench.verification.manifest import MANIFEST, SIGNATURE

if TYPE_CHECKING:
    from minisign import SecretKey

Read = TypeVar("Read")

PASSWORD = "BENCH_KEY_PASSWORD"
"""The environment variable with the password of an encrypted key."""
MISSING = "signing needs py-minisign: pip install 'fingerprint-bench[signing]'"
MOST_BYTES = 1 << 16
"""Bytes of a key or a signature: minisign's have a few hundred."""


class Signer:
    """A secret key, opened before anything is computed; `public_key` is what a report names.

    BenchError if the file is none, is encrypted and PASSWORD is missing or wrong, or the library is not installed.
    """

    def __init__(self, key: Path) -> None:
        self.key = key
        self._secret: SecretKey = _read(key, "secret key", _library().SecretKey.from_bytes)
        if self._secret.is_encrypted():
            self._decrypt(os.environ.get(PASSWORD, ""))
        self.public_key = self._secret.get_public_key().to_base64().decode()

    def _decrypt(self, password: str) -> None:
        if not password:
            raise BenchError(f"{self.key} is encrypted: set the environment variable {PASSWORD} to its password")
        try:
            self._secret.decrypt(password)
        except MemoryError:
            raise BenchError(f"{self.key} needs more memory to be decrypted than there is") from None
        except ValueError as error:
            raise BenchError(f"{self.key}: {first_line(error)} (it is read from {PASSWORD})") from None

    def sign(self, folder: Path) -> Path:
        """Sign the manifest of a folder; return the file of the signature, which lies beside it."""
        signature = bytes(self._secret.sign(_content(folder / MANIFEST)))
        path = folder / SIGNATURE
        try:
            write_atomically(path, signature)
        except OSError as error:
            raise BenchError(f"{path} cannot be written: {error.strerror or error}") from error
        return path


def sign(folder: Path, key: Path) -> Path:
    """Sign the manifest of a folder with the secret key of a file; return the file of the signature."""
    return Signer(key).sign(folder)


def check(folder: Path, public_key: Path) -> None:
    """Raise BenchError unless the manifest of a folder is signed with the key whose public key is in a file."""
    library = _library()
    public = _read(public_key, "public key", library.PublicKey.from_bytes)
    path = folder / SIGNATURE
    if not path.exists():
        raise BenchError(
            f"{folder} is not signed: there is no {SIGNATURE}. Without --public-key only digests are checked"
        )
    signature = _read(path, "signature", library.Signature.from_bytes)
    try:
        public.verify(_content(folder / MANIFEST), signature)
    except library.VerifyError as error:
        why = (
            f"{path} was made with another key than {public_key}"
            if "identifiers" in str(error)
            else f"{folder / MANIFEST} or {path.name} was changed after it was signed"
        )
        raise BenchError(why) from None


def _library() -> Any:
    try:
        import minisign
    except ImportError:
        raise BenchError(MISSING) from None
    if not hasattr(minisign, "SecretKey"):  # another distribution has a package of this name
        raise BenchError(f"{MISSING} (the installed package minisign is another one: uninstall it)")
    return minisign


def _read(path: Path, what: str, read: Callable[[bytes], Read]) -> Read:
    try:
        return read(_content(path, MOST_BYTES))
    except ValueError as error:
        raise BenchError(
            f"{path} is no {what} of minisign ({first_line(error)}). Keys are made by: minisign -G -p KEY.pub -s KEY"
        ) from None


def _content(path: Path, most: int = 1 << 30) -> bytes:
    try:
        if not path.is_file():
            raise BenchError(f"{path} is no file")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > most:
        raise BenchError(f"{path} has more than {most:,} bytes. Is it the right file?")
    return content
