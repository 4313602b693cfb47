"""The one exception and the one kind of remark that importers produce."""

from dataclasses import dataclass


class FrontendError(ImportError):
    """A model that cannot be imported.

    Says what was expected, what was found and what to do; `str()` gives all
    three on one line.
    """

    def __init__(self, expected, found, advice):
        self.expected, self.found, self.advice = expected, found, advice
        super().__init__(f"{expected}; found: {found}; {advice}")


@dataclass(frozen=True)
class Remark:
    """Something the user should know about one node of an imported model."""

    node: str
    reason: str
    advice: str = ""

    def __str__(self):
        return f"{self.node}: {self.reason}" + (f"; {self.advice}" if self.advice else "")
