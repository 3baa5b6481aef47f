"""Judge evidence from Python; the command does the same with the same function."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bench.core.arguments import path, paths
from bench.datasets.files import data_root
from bench.frontend.options import Text
from bench.frontend.reporter import ProgressFunction, reporter_of

if TYPE_CHECKING:
    from bench.verification.judge import EvidenceRuling


def judge(
    evidence: Text,
    source: Text,
    *,
    data: Text | None = None,
    plugins: Text | Iterable[Text] = (),
    allow_code: bool = False,
    progress: bool | ProgressFunction = True,
) -> "EvidenceRuling":
    """Make the fingerprints of evidence again, and its scores, and return what follows.

    `evidence` is a folder of `bench.verify`, `source` a file that describes the committed source. The attribute
    `ruling` is `holds`, `refuted` or `cannot tell`. BenchError if a file was changed or the source is another one.
    """
    from bench.verification.judge import judge as judged
    from bench.verification.regeneration import Place

    names = tuple(map(str, paths("plugins", plugins)))
    place = Place(data_root(None if data is None else str(path("data", data))), names, allow_code)
    return judged(str(path("evidence", evidence)), str(path("source", source)), place, reporter_of(progress, False))
