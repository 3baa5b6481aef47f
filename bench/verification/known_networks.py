"""Whether a suspect is one of the networks that a commitment knows already. Nothing here imports torch."""

from collections.abc import Mapping

from bench.core.errors import printable
from bench.models.kinds import ModelRole
from bench.verification.commitment_files import CommitmentFolder
from bench.verification.judgement import ALL
from bench.verification.kinds import FindingKind
from bench.verification.schema import Finding

HELPERS = (ModelRole.SURROGATE, ModelRole.REFERENCE)
"""The roles of described networks with which fingerprints are made."""


def findings(digest: str, folder: CommitmentFolder) -> list[Finding]:
    """Return the finding that a suspect, by the digest of its content, is a network of the commitment.

    It may be the source, an innocent, a known copy, or a described helper. An innocent is compared with others only,
    and fingerprints were made with the helper's answers: as a suspect, either blocks every method.
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
    described = folder.commitment.spec.get("models")
    for model in described if isinstance(described, list) else ():
        if isinstance(model, Mapping) and model.get("role") in HELPERS and model.get("sha256") == digest:
            text = f"it is {model.get('name')}, the {model['role']} with which fingerprints were made"
            text = printable(f"{text}: the content is the same")
            return [Finding(kind=FindingKind.IDENTITY, text=text, blocks=[ALL])]
    return []
