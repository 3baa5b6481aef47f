"""Whether a suspect is one of the networks that a commitment knows already. Nothing here imports torch."""

from bench.verification.commitment_files import CommitmentFolder
from bench.verification.judgement import ALL
from bench.verification.kinds import FindingKind
from bench.verification.schema import Finding


def findings(digest: str, folder: CommitmentFolder) -> list[Finding]:
    """Return the finding that a suspect, by the digest of its content, is the source, an innocent or a known copy.

    An innocent is compared with others only: as a suspect, it blocks every method.
    """
    if digest == folder.commitment.source.digest:
        return [Finding(kind=FindingKind.IDENTITY, text="it is the source itself: the content is the same")]
    for innocent in folder.nulls:
        if innocent.digest == digest:
            text = f"it is {innocent.model}, one of the innocents: the content is the same"
            return [Finding(kind=FindingKind.IDENTITY, text=text, blocks=[ALL])]
    for copy in folder.copies:
        if copy.digest == digest:
            text = f"it is {copy.model}, a known copy ({copy.attack}): the content is the same"
            return [Finding(kind=FindingKind.IDENTITY, text=text)]
    return []
