"""Results → tables in Markdown: scores by seed, costs, and differences paired over the seeds."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from components.calibration.scores import BINS
from components.evaluation.interval import Interval, corrected_interval
from components.imbalance.comparison import CONFIDENCE
from components.model.arithmetic import FEATURES
from tests.benchmarks.recipes.cards import PLAIN
from tests.benchmarks.recipes.results import Result

PEERS = ("logistic", "keras")


def tables(results: Sequence[Result]) -> str:
    """Return all tables of all data sets."""
    names = dict.fromkeys(result["data"] for result in results)
    return "\n\n".join(table([line for line in results if line["data"] == name]) for name in names)


def table(results: Sequence[Result]) -> str:
    """Return the tables of one data set."""
    rows = by_recipe(results)
    seeds = sorted({line["seed"] for line in results})
    lines = [f"## {results[0]['data']}", "", *_facts(results), ""]
    head = ["recipe", "change", *(f"seed {seed}" for seed in seeds), "macro F1", "accuracy"]
    lines += _line([*head, "ECE, pooled", "CPU s", "wall s"])
    lines += _line(["---"] * (len(head) + 3))
    for (recipe, change), found in rows.items():
        lines += _line([recipe, change, *_scores(found, seeds)])
    pairs = list(compared(rows))
    if pairs:
        lines += ["", f"Differences, paired over split seeds, with {CONFIDENCE:.0%} intervals:", ""]
        lines += _line(["difference", "seeds", "macro F1", "accuracy", "CPU, times"])
        lines += _line(["---"] * 5)
    for name, ours, others in pairs:
        lines += _line([name, *_cells(paired(ours, others))])
    return "\n".join(lines)


def by_recipe(results: Iterable[Result]) -> dict[tuple[str, str], dict[int, Result]]:
    """Return (recipe, change) → seed → result. Of several results, the last one counts."""
    rows: dict[tuple[str, str], dict[int, Result]] = {}
    for line in results:
        rows.setdefault((line["recipe"], line["change"]), {})[line["seed"]] = line
    return rows


def difference(ours: Sequence[float], others: Sequence[float], overlap: float) -> Interval:
    """Return the mean paired difference and its interval, by the corrected resampled t-test.

    overlap: test images / train images if each seed draws another test split, otherwise 0. The
    train splits of two seeds have images in common, so their results vary together. Nadeau and
    Bengio (2003) therefore multiply the variance of the mean by 1 + n * overlap, for n seeds.

    Two seeds, differences 0.02 and 0.04: the mean is 0.03, its standard error 0.01, and t is 12.7.

    >>> found = difference([0.92, 0.84], [0.9, 0.8], 0.0)
    >>> [round(value, 3) for value in (found.value, found.low, found.high)]
    [0.03, -0.097, 0.157]
    """
    values = np.subtract(ours, others)
    if len(values) < 2:
        return Interval(float(values.mean()), None, None)
    return corrected_interval(values, overlap, CONFIDENCE, limits=(-1.0, 1.0))


def pooled_ece(results: Iterable[Result]) -> float:
    """Return the ECE of the images of all test splits together, from the bins of each.

    Half of the images have a confidence of 0.9 and are all right, half are all wrong: together the
    bin has 0.5 of them right, so the ECE is 0.4.

    >>> right = [{"images": 5, "confidence": 0.9, "accuracy": 1.0}]
    >>> wrong = [{"images": 5, "confidence": 0.9, "accuracy": 0.0}]
    >>> round(pooled_ece([{"bins": right}, {"bins": wrong}]), 6)
    0.4
    """
    gaps, images = np.zeros(BINS), 0
    for part in (part for result in results for part in result["bins"]):
        number = min(BINS - 1, max(0, int(np.ceil(part["confidence"] * BINS - 1e-6)) - 1))
        gaps[number] += part["images"] * (part["accuracy"] - part["confidence"])
        images += part["images"]
    return float(np.abs(gaps).sum() / images)


def _facts(results: Sequence[Result]) -> Iterator[str]:
    """Yield lines about the images and the circumstances."""
    splits = ("train", "val", "test")
    images = {", ".join(str(line[f"{split}_images"]) for split in splits) for line in results}
    yield f"Images of train, val and test: {'; '.join(sorted(images))}."
    yield from facts_of_machine(results)


def facts_of_machine(results: Sequence[Result]) -> Iterator[str]:
    """Yield lines about the commit, the load and the processor."""
    commits = sorted({_commit(line) for line in results})
    loads = [line["load"][0] for line in results]
    processors = sorted({_processor(line) for line in results})
    yield f"Commit {', '.join(commits)}; load {min(loads)} to {max(loads)}."
    yield f"Processor: {' / '.join(processors)}."
    if len(commits) > 1:
        yield "The results are of several commits, so they may not be comparable."


def _commit(line: Result) -> str:
    changed = "" if line["git.dirty"] == "no" else " with uncommitted changes"
    return f"{line['git.commit'][:12]}{changed}"


def _processor(line: Result) -> str:
    """Return the processor and the GPUs, without the list of vector instructions."""
    parts = line["processor"].split("; ")
    return ", ".join(part for part in parts if not part.startswith(FEATURES))


def _scores(found: dict[int, Result], seeds: Sequence[int]) -> Iterator[str]:
    fits = [line for line in found.values() if "failed" not in line]
    for seed in seeds:
        line = found.get(seed, {})
        yield "failed" if "failed" in line else f"{line['macro_f1']:.3f}" if line else ""
    if not fits:
        yield from [""] * 5
        return
    yield f"{np.mean([line['macro_f1'] for line in fits]):.3f}"
    yield f"{np.mean([line['accuracy'] for line in fits]):.3f}"
    yield f"{pooled_ece(fits):.3f}"
    yield f"{np.mean([line['cpu_s'] for line in fits]):.0f}"
    yield f"{np.mean([line['wall_s'] for line in fits]):.0f}"


def compared(
    rows: dict[tuple[str, str], dict[int, Result]],
) -> Iterator[tuple[str, dict[int, Result], dict[int, Result]]]:
    """Yield a name and the results of both sides, by seed, of all differences of the table.

    A changed card is compared with the card, and a card with `before` and with the peers.
    """
    bases = _bases(rows)
    for recipe, change in rows:
        base = bases[recipe]
        if change != base:
            name = f"{change or recipe} − {base or recipe}"
            yield name, rows[recipe, change], rows[recipe, base]
    for recipe in (name for name in bases if name not in PEERS):
        for other in (name for name in ("before", *PEERS) if name in bases and name != recipe):
            name = f"{recipe} − {other}"
            yield name, rows[recipe, bases[recipe]], rows[other, bases[other]]


def _bases(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return recipe → the change with which its others are compared: PLAIN, none or the first."""
    bases: dict[str, str] = {}
    for recipe, change in sorted(rows, key=lambda row: (row[1] != PLAIN, row[1] != "")):
        bases.setdefault(recipe, change)
    return bases


def paired(ours: dict[int, Result], others: dict[int, Result]) -> list[tuple[Result, Result]]:
    """Return the results of both sides for each seed for which both trained without a failure."""
    return [
        (ours[seed], others[seed])
        for seed in sorted(ours.keys() & others.keys())
        if "failed" not in ours[seed] and "failed" not in others[seed]
    ]


def gain_in(metric: str, pairs: Sequence[tuple[Result, Result]]) -> Interval:
    """Return the mean paired difference of a metric, and its interval. pairs: at least one."""
    values: Any = zip(*((one[metric], other[metric]) for one, other in pairs), strict=True)
    return difference(*values, overlap=pairs[0][0]["overlap"])


def _cells(pairs: Sequence[tuple[Result, Result]]) -> Iterator[str]:
    yield str(len(pairs))
    if not pairs:
        yield from [""] * 3
        return
    for metric in ("macro_f1", "accuracy"):
        gain = gain_in(metric, pairs)
        interval = f" ({gain.low:+.3f} to {gain.high:+.3f})" if len(pairs) > 1 else ""
        yield f"{gain.value:+.3f}{interval}"
    times = [one["cpu_s"] / max(other["cpu_s"], 0.1) for one, other in pairs]
    yield f"{np.mean(times):.2f}"


def _line(cells: Iterable[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]
