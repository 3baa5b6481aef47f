"""The words of a report for readers who know nothing of statistics or of networks."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from bench.core.errors import printable
from bench.verification.kinds import FindingKind, VerdictKind
from bench.verification.p_values import enough
from bench.verification.report_figures import Power
from bench.verification.schema import Evidence, Finding

MOST_CHARACTERS = 400
"""Characters of a name or a sentence from a file."""
MARKS = {
    VerdictKind.EVIDENCE: ("evidence", "▲"),
    VerdictKind.NO_EVIDENCE: ("none", "○"),
    VerdictKind.CANNOT_TELL: ("cannot", "?"),
}
"""The class and the sign of each verdict on the page."""
TITLES = {
    FindingKind.ACCURACY: "How much it recognises",
    FindingKind.DAMAGE: "It recognises less than every innocent",
    FindingKind.PREPROCESSING: "The form in which it wants pictures",
    FindingKind.BATCH: "Pictures asked together",
    FindingKind.HISTORY: "Pictures asked again",
    FindingKind.TRANSPORT: "The way to the suspect",
    FindingKind.ANSWERS: "The form of its answers",
    FindingKind.ENDPOINT: "The server that answers",
    FindingKind.LABEL_SPACE: "Its labels",
    FindingKind.IDENTITY: "Which network it is",
    FindingKind.CODE: "The program that computes the scores",
}
PLAIN = {
    FindingKind.ACCURACY: "The suspect recognises far less than a network for this task does.",
    FindingKind.DAMAGE: "The suspect recognises less than every innocent with which it is compared.",
    FindingKind.PREPROCESSING: "The suspect seems to want pictures in another form than its description states.",
    FindingKind.BATCH: "The suspect's answer to a picture depends on the other pictures that are sent with it.",
    FindingKind.HISTORY: "The suspect's answer to a picture depends on what it was asked before.",
    FindingKind.TRANSPORT: "Pictures or answers seem to be changed on the way to the suspect. Asked in this way, even "
    "the source itself might not be recognised.",
    FindingKind.ANSWERS: "The suspect's answers are too coarse, or of another form than this test needs.",
    FindingKind.ENDPOINT: "The server that runs the suspect did not answer as this test needs.",
    FindingKind.LABEL_SPACE: "The suspect names what it sees by other labels than the source.",
    FindingKind.IDENTITY: "The suspect is one of the innocents with which it would be compared.",
    FindingKind.CODE: "The scores of the suspect and of the innocents may have been computed by different programs.",
}
"""What a finding because of which there is no verdict means, for lay readers."""
FEW = "There are too few innocents for a limit as strict as this."
UNUSED = "The test method could not be used on this suspect."
REMEDIES = {
    FindingKind.ACCURACY: "Check that this is the right network, that its description is right, and that its labels "
    "are in the described order. A network that only guesses cannot be tested.",
    FindingKind.DAMAGE: "Make a commitment with innocents that recognise as little as the suspect, trained for a "
    "shorter time, and run the test again.",
    FindingKind.PREPROCESSING: "Correct its description (size, range, mean, std, layout) and run the test again.",
    FindingKind.BATCH: "Obtain the network in a form whose answers do not depend on the other pictures of a request.",
    FindingKind.HISTORY: "Obtain the network in a fixed form: one that does not change with the pictures it is shown.",
    FindingKind.TRANSPORT: "Obtain access that leaves pictures and answers as they are, such as the file of the "
    "network, or commit to a method that survives this change.",
    FindingKind.ANSWERS: "Obtain unrounded probabilities of all labels, or commit to a method that needs labels only.",
    FindingKind.ENDPOINT: "Run the same command again: it keeps the answers that it has, and asks no picture twice.",
    FindingKind.LABEL_SPACE: "State in its description which of its labels is which label of the dataset, or commit to "
    "a method that can bridge other labels.",
    FindingKind.IDENTITY: "A network that is known to be innocent needs no test. If it is not known to be, make a "
    "commitment without it.",
    FindingKind.CODE: "Install the version with which the commitment was made and run the test again.",
}
"""What a user can do about a finding because of which there is no verdict."""
OTHERWISE = (
    "Remove the cause that is named in detail and run the test again, or commit to a method that suits this suspect."
)
WORDS = {
    "source": "The network of the owner, who asks whether it was copied.",
    "suspect": "The network that is tested.",
    "independent": "Made without the source: neither from it, nor by training on its answers.",
    "innocent": "An independent network for the same task, with which the suspect is compared.",
    "family": "Innocents that were made in the same way, by one recipe.",
    "copy": "A network that was made from the source: by changing it, or by training on its answers.",
    "method": "A rule that chooses pictures and computes the score from the answers to them.",
    "draw": "One set of pictures of a method. The score is the mean over all its sets.",
    "score": "One number for each network and method. Higher means more like a copy; -0.03 is higher than -0.09.",
    "limit": "A result counts as evidence only if networks like the innocents get one as strong this often or less.",
    "evidence of copying": "Networks like the innocents get such a result no more often than the limit allows.",
    "no evidence": "Networks like the innocents may get such a result more often. The suspect may still be a copy.",
    "cannot tell": "The test would be unreliable here, or has too few innocents or families to find any evidence.",
    "commitment": "A folder of pictures, methods and scores of innocents, to be made before the suspect is asked.",
    "digest": "A number computed from all bytes of a file, by which changes are noticed.",
}
"""The words that the report explains; docs/words.md has the same."""


def shown(text: object, most: int = MOST_CHARACTERS) -> str:
    """Return text from a file as one line of printable characters, cut where it is too long."""
    line = printable(str(text))
    return line if len(line) <= most else line[: most - 1] + "…"


def sentence(text: str) -> str:
    """Return a sentence from a file as `shown`, with a full stop if it has none."""
    line = shown(text).rstrip()
    return line if not line or line.endswith((".", "!", "?", "…", ":")) else f"{line}."


def share(p: float) -> str:
    """Return a probability as a lay reader counts it, rounded up: `1 of 201`, `30 of 100`."""
    if p <= 0.1:
        return f"1 of {math.floor(1 / p + 1e-6):,}" if p > 0 else "0 of 100"
    return f"{math.ceil(100 * p - 1e-6)} of 100"


def counted(p: float, what: str = "") -> str:
    """Return a probability as `share`, and of 100 where that is another number: `1 of 201 (0.5 of 100)`."""
    text = share(p) + what
    if p <= 0 or share(p).endswith("of 100"):
        return text
    size = 10.0 ** (1 - math.floor(math.log10(100 * p)))  # two digits, rounded up
    return f"{text} ({math.ceil(100 * p * size - 1e-6) / size:.2g} of 100)"


def cases(p: float | None) -> str:
    """Return how often something happens, such as `1 of 201 cases (0.5 of 100)`; empty if that is not known."""
    return "" if p is None else counted(p, " cases")


def of_hundred(found: Power) -> str:
    """Return how many of 100 copies of a kind would be found, with the interval: `70 (46 to 88)`."""
    low, high = math.floor(100 * found.low), math.ceil(100 * found.high)
    ends = f"at least {low}" if found.found == found.of else f"{low} to {high}" if found.found else f"at most {high}"
    return f"{100 * found.found / found.of:.0f} ({ends})"


def missed(kinds: Sequence[Power]) -> str:
    """Return what copies of the kind that is found least mean for a verdict of no evidence."""
    worst = min(kinds, key=lambda kind: kind.found / kind.of)
    if worst.found == worst.of:
        return "None of these copies was missed. Other kinds of copies were not tried."
    name = shown(worst.attack or "copy", 80)
    return (
        f"Of the copies by {name}, {worst.of - worst.found:,} of {worst.of:,} were missed: "
        "if this suspect were such a copy, the test could have missed it. Other kinds of copies were not tried."
    )


def explained(text: str) -> str:
    """Return a reason with its p-value in words."""
    found = re.search(r"\(p = ([0-9.e+-]+)\)", text)
    try:
        p = float(found[1]) if found else 2.0
    except ValueError:
        return text
    if not found or not 0 <= p <= 1:
        return text
    return f"{text} Here p = {found[1]} means: about {share(p)} networks like the innocents would score as high."


def reached(count: int, innocents: int, source: str, method: str = "") -> str:
    """Return the sentence that states how many of the innocents score as high as the suspect."""
    by = f"By the method {method}, " if method else ""
    number = f"{count:,}" if count else ("none" if by else "None")
    return (
        f"{by}{number} of the {innocents:,} innocents, networks that were trained without “{source}”, scored as high "
        f"as the suspect{' or higher' if count else ''}."
    )


def condition(verdict: VerdictKind, unseen: VerdictKind) -> str:
    """Return what a verdict assumes, and the verdict without this assumption."""
    assumed = (
        "This assumes that the suspect, if it is independent, was made in one of the ways in which the innocents were "
        "(they are listed below). The test cannot check that."
    )
    also = "also " if verdict is unseen else ""
    return f"{assumed} If the suspect may have been made in another way, take the verdict to be {also}“{unseen}”."


def floor(families: int, alpha: float, methods: int) -> str:
    """Return what the number of families allows under the second assumption."""
    lowest = min(1.0, methods / (families + 1))
    said = (
        "A family is a group of innocents that were made in the same way. In the second row each family counts as one "
        "case, and the way in which the suspect was made as one more case like the others. With "
        f"{families:,} families, no result there can be rarer than {counted(lowest)}, not even that of an exact copy."
    )
    if lowest <= alpha * (1 + 1e-12):
        return said
    needed = math.ceil(methods / alpha - 1 - 1e-6)
    return f"{said} Evidence at the limit of {share(alpha)} would need {needed:,} families or more."


class Reason(NamedTuple):
    """Why there is no verdict: for lay readers, in the words of the check, and what can be done about it."""

    plain: str
    detail: str
    remedy: str


def reasons(evidence: Evidence, compared: int | None = None) -> list[Reason]:
    """Return why there is no verdict, and what can be done about it.

    `compared` is the number of innocents with a score by a method that is used; None: as many as any method has.
    """
    few = _too_few(evidence, evidence.judgement.innocents if compared is None else compared)
    causes = [f for f in evidence.findings if f.blocks or "transport" in f.figures]
    found, covered = [], set()
    for reason in evidence.judgement.reasons:
        same = [n for n, finding in enumerate(causes) if _explains(finding, reason)]
        covered |= {*same}
        if same:
            kind = causes[same[0]].kind
            found.append(Reason(PLAIN[kind], explained(sentence(reason)), REMEDIES[kind]))
        elif few and "innocent" in reason:
            found.append(Reason(FEW, explained(sentence(reason)), few))
        else:
            found.append(Reason(UNUSED, explained(sentence(reason)), OTHERWISE))
    blocking = [f for n, f in enumerate(causes) if f.blocks and n not in covered]
    found += [Reason(PLAIN[f.kind], sentence(f.text), REMEDIES[f.kind]) for f in blocking]
    if few and not any(reason.remedy == few for reason in found):
        found.append(Reason(FEW, "", few))
    return found or [Reason(UNUSED, "", OTHERWISE)]


def _explains(finding: Finding, reason: str) -> bool:
    return finding.text in reason or str(finding.figures.get("transport") or finding.text) in reason


def _too_few(evidence: Evidence, innocents: int) -> str:
    """Return what can be done about too few innocents; empty if there are enough for the methods that are used."""
    judgement = evidence.judgement
    methods = max(1, sum(not m.reason for m in judgement.methods))
    if enough(innocents, judgement.alpha, methods):
        return ""
    needed = math.ceil(methods / judgement.alpha * (1 - 1e-12)) - 1
    return (
        f"Make a new commitment with {needed:,} innocents or more (there are {innocents:,}). "
        "A larger limit needs fewer, but it has to be chosen before scores are known."
    )
