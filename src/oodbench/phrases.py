"""Times, counts, lists and other people's text, for the terminal, the tables and the page."""

import time
from collections.abc import Iterable


def duration(seconds: float) -> str:
    """Return seconds, minutes or hours, whichever reads best."""
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def clock(rest: float, now: float | None = None) -> str:
    """Return the time of day in `rest` seconds, with the day where it is another one."""
    now = time.time() if now is None else now
    then = time.localtime(now + rest)
    return time.strftime("%H:%M" if then[:3] == time.localtime(now)[:3] else "%a %d %b %H:%M", then)


def counted(n: int, one: str, many: str = "") -> str:
    """Return a number with its noun in singular or plural."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def seeds_of(seeds: Iterable[int]) -> str:
    """Return "seed 0" or "seeds 0, 2"."""
    found = [str(seed) for seed in seeds]
    return f"seed{'s' * (len(found) > 1)} {', '.join(found)}"


def join(names: Iterable[str]) -> str:
    """Return names with commas, and "and" before the last."""
    names = list(names)
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def printable(text: str) -> str:
    """Return a line of anybody's text whose control characters, which a terminal would follow, are question marks."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
