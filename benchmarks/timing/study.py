"""Trials, what they are compared with, and the figures that come of them. Nothing here needs a GPU."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from evolve_core.files import write_whole
from evolve_core.judge.verdict import Correctness, Speed, Verdict

WHAT = "A kernel against itself with more steps (slow, in percent), confirmed. Made by `python -m benchmarks.timing`."
TWICE = 100.0
SHARE_TRIALS = 3
"""Trials with twice the steps: they tell which share of the time the steps are."""


class OtherStudy(Exception):
    """The file holds trials that cannot be put together with these."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One confirmation. ``slow`` in percent of the steps; ``ratio`` baseline / candidate, ``low`` and ``high`` its
    95 % interval; ``said`` is the verdict's speed, or its failure.
    """

    slow: float
    said: str
    ratio: float | None
    low: float | None
    high: float | None
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Study:
    """``environment`` is what all trials share: device, driver, toolchain, and what times were held against."""

    environment: dict[str, str]
    trials: tuple[Trial, ...] = ()


def trial_of(slow: float, verdict: Verdict, seconds: float) -> Trial:
    interval = verdict.interval
    said = verdict.failure or (verdict.speed if verdict.correctness is Correctness.CORRECT else verdict.correctness)
    return Trial(
        slow=slow,
        said=str(said),
        ratio=verdict.ratio,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        seconds=round(seconds, 2),
        reason=verdict.reason,
    )


def due(done: Sequence[Trial], slows: Sequence[float], count: int) -> Iterator[float]:
    """The slowdowns that are still to be tried, in the order in which to try them: first what tells the steps' share,
    then every slowdown in turn, ``count`` in all. Raises ValueError where that share is among the slowdowns.
    """
    made: dict[float, int] = {}
    for trial in done:
        made[trial.slow] = made.get(trial.slow, 0) + 1
    if TWICE in slows:
        raise ValueError(f"{TWICE:g} % more steps are tried anyway, to tell the steps' share")
    yield from [TWICE] * (SHARE_TRIALS - made.get(TWICE, 0))
    for number in range(count):
        slow = slows[number % len(slows)]
        if made.get(slow, 0) > 0:
            made[slow] -= 1
        else:
            yield slow


def load(file: Path) -> Study | None:
    """What an earlier call left; None where there is nothing yet. Raises OtherStudy where it is something else."""
    if not file.exists():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return Study(dict(data["environment"]), tuple(Trial(**one) for one in data["trials"]))
    except (ValueError, KeyError, TypeError) as error:
        raise OtherStudy(f"{file} holds no trials of this benchmark ({error}); name another file") from None


def save(file: Path, study: Study, figures: dict[str, Any]) -> None:
    """Whole or not at all: the trials are minutes of a GPU."""
    whole = {"what": WHAT, "environment": study.environment, "figures": figures}
    trials = [asdict(trial) for trial in study.trials]
    write_whole(file, json.dumps({**whole, "trials": trials}, indent=1) + "\n")


def steps_share(trials: Sequence[Trial]) -> float | None:
    """Which share of the baseline's time its steps take, out of the trials with twice of them: 1 - share is launch,
    loads and stores, which more steps do not change. None before there is such a trial.
    """
    ratios = [trial.ratio for trial in trials if trial.slow == TWICE and trial.ratio]
    return 1 / median(ratios) - 1 if ratios else None


def truth(slow: float, share: float) -> float:
    """The ratio baseline / candidate that the work count asks for, the time being linear in the steps."""
    return 1 / (1 + slow / 100 * share)


def figures(trials: Sequence[Trial]) -> dict[str, Any]:
    """By slowdown: how often each word was said, how wide the intervals were, how often they held the truth."""
    share = steps_share(trials)
    found: dict[str, Any] = {"steps_share": share, "by_slow": {}}
    for slow in sorted({trial.slow for trial in trials} - {TWICE}):
        mine = [trial for trial in trials if trial.slow == slow]
        found["by_slow"][f"{slow:g}"] = _figures(mine, truth(slow, share) if share else None)
    return found


def _figures(trials: Sequence[Trial], expected: float | None) -> dict[str, Any]:
    timed = [(trial.low, trial.high) for trial in trials if trial.low is not None and trial.high is not None]
    widths = sorted((high - low) / 2 for low, high in timed)
    said = [trial.said for trial in trials]
    return {
        "trials": len(trials),
        "said": {word: said.count(word) for word in sorted(set(said))},
        "faster": said.count(Speed.FASTER) / len(said),
        "slower": said.count(Speed.SLOWER) / len(said),
        "truth": expected,
        "mean_ratio": fmean(trial.ratio for trial in trials if trial.ratio) if any(t.ratio for t in trials) else None,
        "half_width": {
            "median": median(widths) if widths else None,
            "largest": widths[-1] if widths else None,
        },
        "covered": fmean(low <= expected <= high for low, high in timed) if timed and expected else None,
        "median_seconds": median(trial.seconds for trial in trials),
    }


def words(found: dict[str, Any]) -> Iterator[str]:
    """The figures as lines for a terminal."""
    share = found["steps_share"]
    if share is not None:
        yield f"the steps are {100 * share:.1f} % of the kernel's time (from {SHARE_TRIALS} trials with twice of them)"
    for slow, row in found["by_slow"].items():
        name = "A/A" if slow == "0" else f"A/B, {slow} % more steps"
        said = ", ".join(f"{word} {count}" for word, count in row["said"].items())
        yield (
            f"{name}: {row['trials']} trials: {said}; called faster {100 * row['faster']:.1f} %, "
            f"slower {100 * row['slower']:.1f} %"
        )
        width, covered = row["half_width"], row["covered"]
        if width["median"] is not None:
            yield f"    half width ±{100 * width['median']:.2f} % (median), ±{100 * width['largest']:.2f} % (largest)"
        if covered is not None:
            held = f"held by {100 * covered:.0f} % of the intervals"
            yield f"    truth {row['truth']:.4f}, {held}; mean ratio {row['mean_ratio']:.4f}"
