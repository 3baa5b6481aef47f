"""What a check looks at: a component, with the components that it requires and the file that defines it."""

import inspect
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


class Skipped(Exception):
    """A check cannot run, for this reason."""


class Passed(Exception):
    """A check is passed, with this remark."""


class Subject:
    """A component with the components that it requires, and the file that defines it, whose lines messages name."""

    component: Any
    required: Sequence[Any]

    @property
    def file(self) -> Path:
        """Return the file that defines the component."""
        return Path(str(getattr(sys.modules.get(type(self.component).__module__), "__file__", "") or ""))

    def missing_requirement(self) -> str:
        """Return which required component is not installed; empty: none."""
        names = {c.name for c in self.required}
        before = getattr(self.component, "starts_from", "")
        if before and before not in names:
            return f"it starts from the attack {before!r}, which is not installed"
        scored = getattr(self.component, "fingerprint_of", "")
        if scored and scored not in names:
            return f"it scores the fingerprints of {scored!r}, which is not installed"
        lost = [n for n in getattr(self.component, "helper_architectures", ()) if n not in names]
        return f"its helpers are of the architecture {lost[0]!r}, which is not installed" if lost else ""

    def location(self, error: BaseException) -> str:
        """Return the line of the component's file that raised an error; empty: none of its lines did."""
        return self._location([(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)])

    def definition(self, reason: str) -> str:
        """Return the line that defines the method with which a reason begins; empty: none of the component's file."""
        name = reason.replace("(", " ").split(" ")[0].strip(",:")
        code = getattr(inspect.unwrap(getattr(type(self.component), name, len)), "__code__", None)
        return self._location([(code.co_filename, code.co_firstlineno)]) if code else ""

    def _location(self, frames: Iterable[tuple[str, Any]]) -> str:
        here = [line for file, line in frames if Path(file) == self.file]
        return f" ({self.file.name}, line {here[-1]})" if here else ""
