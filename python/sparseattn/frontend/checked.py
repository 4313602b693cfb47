"""JSON from outside, read with checks: every access says what it expected."""

import json
import math

from .errors import FrontendError
from .graph import INT64_MAX

_ABSENT = object()
_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "an integer", float: "a number",
          type(None): "null"}


def read_file(path, what, max_bytes, advice):
    """The bytes of the file at `path`, at most `max_bytes` of them. Raises FrontendError."""
    try:
        with open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise FrontendError(f"expected to be able to read {path}", str(error), "check the path") from None
    if len(data) > max_bytes:
        raise FrontendError(f"expected {what} of at most {max_bytes} bytes", "more", advice)
    return data


def parse(data, what, advice):
    """The root `Checked` of JSON bytes. Raises FrontendError for anything that
    is not JSON, including nesting that Python cannot follow."""
    try:
        return Checked(json.loads(data), what, advice)
    except RecursionError:
        raise FrontendError(f"expected {what} to be JSON of moderate depth", "nesting too deep to read", advice) from None
    except (ValueError, UnicodeError) as error:
        raise FrontendError(f"expected {what} to be JSON", str(error), advice) from None


class Checked:
    """A JSON value with its path from the root, for messages."""

    __slots__ = ("raw", "path", "advice")

    def __init__(self, raw, path, advice):
        self.raw, self.path, self.advice = raw, path, advice

    def fail(self, expected, found=None):
        """Raise FrontendError at this place."""
        if found is None:
            found = _NAMES.get(type(self.raw), type(self.raw).__name__)
            if isinstance(self.raw, (str, int, float)):
                found += f" ({str(self.raw)[:60]})"
        raise FrontendError(f"expected {self.path} to be {expected}", found, self.advice)

    def _typed(self, type_):
        if not isinstance(self.raw, type_) or (type_ is int and isinstance(self.raw, bool)):
            self.fail(_NAMES[type_])
        return self.raw

    def _child(self, raw, step):
        return Checked(raw, f"{self.path}{step}", self.advice)

    def __getitem__(self, key):
        mapping = self._typed(dict)
        if key not in mapping:
            raise FrontendError(f"expected {self.path} to have '{key}'", f"only {_short(mapping)}" if mapping else "nothing", self.advice)
        return self._child(mapping[key], f".{key}")

    def get(self, key):
        """The member `key`, or None if it is absent or null."""
        raw = self._typed(dict).get(key)
        return None if raw is None else self._child(raw, f".{key}")

    def items(self):
        return [(k, self._child(v, f".{k}")) for k, v in self._typed(dict).items()]

    def list(self):
        return [self._child(v, f"[{i}]") for i, v in enumerate(self._typed(list))]

    def str(self):
        return self._typed(str)

    def bool(self):
        return self._typed(bool)

    def int(self, low=-INT64_MAX - 1, high=INT64_MAX):
        value = self._typed(int)
        if not low <= value <= high:
            self.fail(f"an integer in [{low}, {high}]")
        return value

    def float(self):
        if isinstance(self.raw, bool) or not isinstance(self.raw, (int, float)):
            self.fail("a number")
        try:
            value = float(self.raw)
        except OverflowError:
            self.fail("a number that a double can hold")
        if not math.isfinite(value):
            self.fail("a finite number")
        return value

    def one_of(self, *keys):
        """(key, value) of a union: an object with exactly one member that is
        not null, whose key may be any of `keys` (all, if none are given)."""
        members = [(k, v) for k, v in self._typed(dict).items() if v is not None]
        if len(members) != 1 or (keys and members[0][0] not in keys):
            self.fail(f"an object with exactly one of {', '.join(keys)}" if keys else "an object with exactly one member",
                      _short(self.raw))
        key, raw = members[0]
        return key, self._child(raw, f".{key}")


def _short(mapping):
    keys = [k[:40] or "''" for k in list(mapping)[:12]]
    return ", ".join(keys) + (", ..." if len(mapping) > 12 else "") if keys else "nothing"
