"""`bench verify`: judge one suspect, or compute a verdict again from its evidence."""

from typing import Any

import click

from bench.cli.shared_options import PLUGINS
from bench.core.errors import BenchError
from bench.frontend.verify import Verdict, replay, verify

_FILE, _FOLDER = click.Path(dir_okay=False), click.Path(file_okay=False)


@click.command("verify")
@click.option("--models", type=_FILE, metavar="FILE", help="File that describes the suspect.")
@click.option("--suspect", default="", metavar="NAME", help="The suspect, if several are described.")
@click.option("--commitment", type=_FOLDER, metavar="DIR", help="Folder that bench commit made.")
@click.option("--alpha", default=0.01, show_default=True, help="How often, at most, an innocent is accused.")
@click.option("--max-queries", type=int, metavar="N", help="Largest number of images that are asked.")
@click.option("--out", type=_FOLDER, metavar="DIR", help="Folder of the evidence.")
@click.option("--allow-code", is_flag=True, help="Run the suspect if it is a program (torchscript, pt2).")
@PLUGINS
@click.option("--replay", "replayed", type=_FOLDER, metavar="DIR", help="Compute the verdict of a folder again.")
@click.option("--sign", type=_FILE, metavar="KEY", help="Sign the evidence with this minisign key.")
@click.option("--public-key", type=_FILE, metavar="FILE", help="With --replay: by whose key it must be signed.")
@click.option("--json", "as_json", is_flag=True, help="Print the evidence as JSON.")
def command(replayed: str | None, public_key: str | None, as_json: bool, **options: Any) -> int:
    """Judge one suspect: was it made from the source of a commitment? See: docs/verify-a-suspect.md

    Exit code: 1 evidence of copying, 0 no evidence, 3 cannot tell, 2 wrong input.
    """
    if public_key and not replayed:
        raise BenchError("--public-key checks a signature: name the folder with --replay DIR")
    verdict = replay(replayed, public_key) if replayed else _verified(options)
    click.echo(_json(verdict) if as_json else str(verdict))
    return verdict.code


def _verified(options: dict[str, Any]) -> Verdict:
    for name in ("models", "commitment", "out"):
        if not options[name]:
            raise BenchError(f"--{name} is missing: see bench verify --help, or bench verify --replay DIR")
    return verify(**options)


def _json(verdict: Verdict) -> str:
    from msgspec import json

    return json.format(json.encode(verdict.evidence.evidence), indent=2).decode()
