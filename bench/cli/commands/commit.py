"""`bench commit`: read the options, make the commitment, print its digest."""

from copy import copy
from typing import Any

import click

from bench.cli.commands.run import TerminalReporter
from bench.cli.shared_options import DATA, PLUGINS, STORE
from bench.cli.spec_options import OPTIONS
from bench.core.kinds import Access
from bench.frontend.commit import CHOSEN, commit_request, execute

_FILE = click.Path(dir_okay=False)
_HELP = {
    "datasets": "The dataset that the source was trained on.",
    "methods": "Methods that are chosen now, comma-separated.",
    "attacks": "Attacks by which copies of the source are made; default: none.",
    "architectures": "Architectures of innocents, copies and helpers that are trained; default: none.",
    "replicates": "Innocents, and copies by each attack, per architecture.",
}
"""What options of a run mean here."""


def _option(option: click.Option) -> click.Option:
    changed = copy(option)
    changed.help = _HELP.get(option.name or "", option.help)
    return changed


@click.command("commit", params=[_option(option) for option in OPTIONS if option.name in CHOSEN])
@click.option("--models", type=_FILE, required=True, help="The TOML file that describes the source.")
@click.option("--innocents", multiple=True, type=_FILE, help="A TOML file with innocents (role irrelevant).")
@click.option("--copies", multiple=True, type=_FILE, help="A TOML file with known copies (role stolen).")
@click.option("--source", default="", metavar="NAME", help="One of several sources of --models.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the fingerprints.")
@click.option("--draws", type=click.IntRange(0), default=0, help="Fingerprints per method; 0: as it declares.")
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Worker processes; 0: in this process.")
@click.option("--gpus", metavar="LIST", help="GPUs to use, such as 0,1; default: all.")
@click.option("--threads", type=click.IntRange(1), default=1, help="Threads per CPU task (changes weights slightly).")
@STORE
@DATA
@PLUGINS
@click.option("--allow-code", is_flag=True, help="Run the programs among described networks (torchscript, pt2).")
@click.option("--sign", type=_FILE, metavar="KEY", help="Sign the commitment with this minisign key.")
@click.option("--out", type=click.Path(), required=True, help="The folder that is made.")
@click.option("--quiet", is_flag=True, help="Show failures only while running.")
def command(quiet: bool, **chosen: Any) -> int:
    """Make fingerprints of a source and score innocents with them, before anybody is accused. See: docs/verify.md"""
    from bench.verification.kinds import ALPHA
    from bench.verification.p_values import enough, needed

    made = execute(commit_request(chosen), TerminalReporter(quiet, False), chosen["sign"])
    written, made = made, made.for_suspect("")  # models of other datasets are none for its own suspects
    methods = made.commitment.methods
    asked = [method.name for method in methods if method.access != Access.WEIGHTS]  # verdicts use these
    for method in methods:
        nulls, copies = len(made.scores_of(method.name)), sum(row.method == method.name for row in made.copies)
        draws, copied = len(method.fingerprints), "copy" if copies == 1 else "copies"
        others = sum(row.method == method.name for row in written.copies) - copies
        click.echo(
            f"{method.name} version {method.version}: {draws} fingerprint{'s' * (draws > 1)}, {method.queries} queries "
            f"of {method.access}, {nulls} innocents in {len(made.families(method.name))} families, {copies} {copied}"
            + (f", {others} of other datasets" if others else "")
        )
    if asked and not enough(min(len(made.scores_of(name)) for name in asked), ALPHA, len(asked)):
        click.echo(
            f"Too few innocents for bench verify's level of {ALPHA:g}: {needed(ALPHA, len(asked))} are needed for so "
            "many methods, or a larger --alpha there"
        )
    click.echo(f"commitment: {made.folder}")
    click.echo(f"digest: {made.digest}")
    click.echo("Have this digest time-stamped now, by somebody else, before you look at a suspect. See: docs/verify.md")
    return 0
