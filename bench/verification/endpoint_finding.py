"""What stands in evidence about the requests to a model behind a URL. Nothing here imports torch."""

from collections.abc import Mapping
from typing import Any

from bench.verification.kinds import FindingKind
from bench.verification.schema import Finding


def endpoint_finding(record: Mapping[str, Any]) -> Finding:
    """Return the finding for what `HttpNetwork.record` has; it blocks no method.

    It is about the last run of the command alone: one that was interrupted before it counted its own requests.
    """
    counts = dict(record.get("counts", {}))
    server = record.get("server", {})
    who = " ".join(str(server[name]) for name in ("name", "version") if server.get(name)) or "a server without a name"
    retries = sum(number for name, number in counts.items() if name.startswith("retries"))
    sent = (
        f"{counts.get('requests', 0)} requests with {counts.get('images', 0)} images, of which {retries} were retries"
    )
    text = f"The suspect is behind a URL of {who}: the last run of this command sent {sent}."
    return Finding(kind=FindingKind.ENDPOINT, text=text, figures={**record})
