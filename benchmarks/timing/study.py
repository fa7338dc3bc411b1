"""Trials, what they are compared with, and the figures that come of them. Nothing here needs a GPU."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from evolve_core.files import write_whole
from evolve_core.judge.verdict import Correctness, Speed, Verdict

WHAT = "A kernel against itself with more steps (slow, in percent), confirmed. Made by `python -m benchmarks.timing`."
TWICE = 100.0
SHARE_TRIALS = 3
"""Trials with twice the steps in each sitting: they tell which share of the time the steps are. On two NVIDIA H200s of
one kind it was 97.4 % one day and 96.2 % another, which moves the ratio of 5 % more steps by 0.06 %: three times the
width of an interval."""


class OtherStudy(Exception):
    """The file holds trials that cannot be put together with these."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One confirmation. ``slow`` in percent of the steps; ``ratio`` baseline / candidate, ``low`` and ``high`` its
    95 % interval; ``said`` is the verdict's speed, or its failure. ``sitting``: which call of the program made it, so
    on which device and in which state of it.
    """

    slow: float
    said: str
    ratio: float | None
    low: float | None
    high: float | None
    seconds: float
    reason: str
    sitting: int


@dataclass(frozen=True, slots=True)
class Study:
    """``environment`` is what all trials share: device, driver, toolchain, and what times were held against."""

    environment: dict[str, str]
    trials: tuple[Trial, ...] = ()

    @property
    def next_sitting(self) -> int:
        return max((trial.sitting for trial in self.trials), default=0) + 1


def trial_of(slow: float, verdict: Verdict, seconds: float, sitting: int) -> Trial:
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
        sitting=sitting,
    )


def due(done: Sequence[Trial], slows: Sequence[float], count: int) -> Iterator[float]:
    """The slowdowns that a new sitting still has to try, in the order in which to try them: first what tells the steps'
    share, then every slowdown in turn, ``count`` in all sittings. Raises ValueError where that share is among the
    slowdowns.
    """
    if TWICE in slows:
        raise ValueError(f"{TWICE:g} % more steps are tried anyway, to tell the steps' share")
    made = Counter(trial.slow for trial in done)
    wanted = []
    for number in range(count):
        slow = slows[number % len(slows)]
        if made[slow] > 0:
            made[slow] -= 1
        else:
            wanted.append(slow)
    yield from [TWICE] * SHARE_TRIALS if wanted else []
    yield from wanted


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


def steps_shares(trials: Sequence[Trial]) -> dict[int, float]:
    """By sitting, which share of the baseline's time its steps take, out of the trials with twice of them: 1 - share is
    launch, loads and stores, which more steps do not change. A sitting without such a trial is left out.
    """
    ratios: dict[int, list[float]] = {}
    for trial in trials:
        if trial.slow == TWICE and trial.ratio:
            ratios.setdefault(trial.sitting, []).append(trial.ratio)
    return {sitting: 1 / median(found) - 1 for sitting, found in sorted(ratios.items())}


def truth(slow: float, share: float) -> float:
    """The ratio baseline / candidate that the work count asks for, the time being linear in the steps."""
    return 1 / (1 + slow / 100 * share)


def figures(trials: Sequence[Trial]) -> dict[str, Any]:
    """By slowdown: how often each word was said, how wide the intervals were, how often they held the truth."""
    shares = steps_shares(trials)
    slows = sorted({trial.slow for trial in trials} - {TWICE})
    by_slow = {f"{slow:g}": _figures([trial for trial in trials if trial.slow == slow], shares) for slow in slows}
    return {"steps_share": {str(sitting): share for sitting, share in shares.items()}, "by_slow": by_slow}


def _figures(trials: Sequence[Trial], shares: Mapping[int, float]) -> dict[str, Any]:
    timed = [(trial.low, trial.high) for trial in trials if trial.low is not None and trial.high is not None]
    widths = sorted((high - low) / 2 for low, high in timed)
    said = [trial.said for trial in trials]
    held = [
        trial.low <= known <= trial.high
        for trial in trials
        if trial.low is not None and trial.high is not None and (known := _truth_of(trial, shares))
    ]
    off = [trial.ratio / known - 1 for trial in trials if trial.ratio and (known := _truth_of(trial, shares))]
    return {
        "trials": len(trials),
        "said": {word: said.count(word) for word in sorted(set(said))},
        "faster": said.count(Speed.FASTER) / len(said),
        "slower": said.count(Speed.SLOWER) / len(said),
        "half_width": {
            "median": median(widths) if widths else None,
            "largest": widths[-1] if widths else None,
        },
        "truth_known": len(held),
        "covered": fmean(held) if held else None,
        "mean_deviation": fmean(off) if off else None,
        "median_seconds": median(trial.seconds for trial in trials),
    }


def _truth_of(trial: Trial, shares: Mapping[int, float]) -> float | None:
    """None where its sitting was not asked for the steps' share, which no slowdown needs that is none."""
    share = shares.get(trial.sitting)
    if share is None:
        return 1.0 if trial.slow == 0 else None
    return truth(trial.slow, share)


def words(found: dict[str, Any]) -> Iterator[str]:
    """The figures as lines for a terminal."""
    for sitting, share in found["steps_share"].items():
        yield f"sitting {sitting}: the steps are {100 * share:.1f} % of the kernel's time"
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
            held = f"held by {100 * covered:.0f} % of {row['truth_known']} intervals"
            yield f"    the truth is {held}; ratios are {100 * row['mean_deviation']:+.3f} % off it on average"
