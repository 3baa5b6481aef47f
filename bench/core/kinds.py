"""The closed sets of words that the host compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

ACCESS = ("labels", "probabilities", "logits", "weights")
"""What a network may be asked for, weakest first."""
