"""Results → tables in Markdown. A figure that has a target stands beside it."""

from collections.abc import Iterable, Iterator, Sequence

from tests.benchmarks.recipes.results import Result
from tests.benchmarks.recipes.tables import facts_of_machine
from tests.benchmarks.search import figures
from tests.benchmarks.search.figures import Overhead

PEERS = {"naive": "optuna", "kerastuner": "kerastuner"}
MEASURED = ("figure", "measured", "target", "reached")
HEAD_OF_COSTS = (
    "trials",
    "in a search, s each",
    "of it in the worker, s",
    "training alone, s",
    "start and end of the search, s",
    "worker processes",
)


def tables(results: Sequence[Result]) -> str:
    """Return the tables of all data sets and seeds. A part that is not complete has no table."""
    return "\n\n".join(
        "\n".join(_lines(name, seed, lines)) for (name, seed), lines in by_data(results).items()
    )


def by_data(results: Iterable[Result]) -> dict[tuple[str, int], list[Result]]:
    """Return (data, seed) → results, in the order of the file."""
    found: dict[tuple[str, int], list[Result]] = {}
    for line in results:
        found.setdefault((line["data"], line["seed"]), []).append(line)
    return found


def by_part(results: Iterable[Result]) -> dict[str, dict[str, Result]]:
    """Return part → change → result. Of several results, the last one counts."""
    parts: dict[str, dict[str, Result]] = {}
    for line in results:
        parts.setdefault(line["recipe"], {})[line["change"]] = line
    return parts


def _lines(name: str, seed: int, results: Sequence[Result]) -> Iterator[str]:
    yield f"## {name}, seed {seed}"
    yield ""
    yield from facts_of_machine(results)
    parts = by_part(results)
    for part, peer in PEERS.items():
        if {"ours", peer} <= parts.get(part, {}).keys():
            yield from _rivalry(parts[part]["ours"], parts[part][peer])
    yield from _workers(list(parts.get("workers", {}).values()))
    yield from _overhead(parts.get("overhead", {}))
    yield from _pruning(list(parts.get("pruning", {}).values()))


def _rivalry(ours: Result, peer: Result) -> Iterator[str]:
    name, budget_s = peer["change"], ours["budget_s"]
    yield from _title(f"Beside {name}, {budget_s:g} s each")
    if not ours["events"] or not peer["events"]:
        yield "One of the two finished no epoch in this time."
        return
    both = {"ours": ours["events"], name: peer["events"]}
    yield from _table(
        ("search", "trials finished", "best macro F1 on val", "reached after, s"),
        (
            (who, f"{events[-1][2]:g}", f"{events[-1][1]:.4f}", f"{_reached_s(events):.0f}")
            for who, events in both.items()
        ),
    )
    yield ""
    passed = figures.passed_s(ours["events"], peer["events"])
    time_s = figures.seconds_of(peer["events"], figures.IN_TIME_OF)
    rows = [
        _measured(
            f"seconds in which we pass the best value of {name}",
            "never" if passed is None else f"{passed:.0f}",
            f"≤ {figures.PASSED_S}",
            passed is not None and passed <= figures.PASSED_S,
        )
    ]
    if time_s is not None:
        count = figures.trials_until(ours["events"], time_s)
        rows.append(
            _measured(
                f"our trials in the time of {figures.IN_TIME_OF} of {name}, {time_s:.0f} s",
                f"{count}",
                f"≥ {figures.HEADS_IN_TIME}",
                count >= figures.HEADS_IN_TIME,
            )
        )
    yield from _table(MEASURED, rows)


def _workers(results: Sequence[Result]) -> Iterator[str]:
    if len(results) < 2:
        return
    begin = results[0]["begin"]
    rates = [figures.per_minute(result["trials"], begin) for result in results]
    yield from _title("Workers")
    rows = [(one["change"], f"{rate:.1f}") for one, rate in zip(results, rates, strict=True)]
    yield from _table(("workers", "trials a minute"), rows)
    yield ""
    times, target = rates[1] / rates[0], figures.SPEED_UP
    other = figures.differing(*(result["trials"] for result in results))
    yield from _table(
        MEASURED,
        [
            _measured("two workers / one", f"{times:.2f}", f"≥ {target}", times >= target),
            _measured("trials that are not equal", str(other), "0", not other),
        ],
    )


def _overhead(results: dict[str, Result]) -> Iterator[str]:
    found = {
        kind: figures.overhead(results[kind], results[f"{kind} without a search"])
        for kind in ("heads", "finetunes")
        if {kind, f"{kind} without a search"} <= results.keys()
    }
    if not found:
        return
    yield from _title("What a trial costs beside its training")
    yield from _table(
        HEAD_OF_COSTS,
        ((kind, *_costs(overhead)) for kind, overhead in found.items()),
    )
    yield ""
    yield from _table(MEASURED, [*_extra(found), *_memory(results)])


def _costs(found: Overhead) -> Iterator[str]:
    for seconds in (found.search_s, found.inside_s, found.bare_s, found.once_s):
        yield f"{seconds:.2f}"
    yield str(found.processes)


def _extra(found: dict[str, Overhead]) -> Iterator[tuple[str, ...]]:
    if "heads" in found:
        extra_s, target = found["heads"].extra_s, figures.HEAD_S
        yield _measured("more, for a head, s", f"{extra_s:.2f}", f"≤ {target}", extra_s <= target)
    if "finetunes" in found:
        share = found["finetunes"].extra_s / found["finetunes"].bare_s
        most = figures.FINETUNE_SHARE
        name = "more, for a fine-tuning"
        yield _measured(name, f"{share:+.1%}", f"≤ {most:+.0%}", share <= most)
    unequal = sum(overhead.unequal for overhead in found.values())
    yield _measured("trainings alone with another value", str(unequal), "0", not unequal)


def _memory(results: dict[str, Result]) -> Iterator[tuple[str, ...]]:
    if not {"heads", "few heads"} <= results.keys():
        return
    few, many = results["few heads"], results["heads"]
    before, after = (one["worker_mb"] + one["coordinator_mb"] for one in (few, many))
    share, most = after / before - 1, figures.MEMORY_SHARE
    counts = f"{len(few['trials'])} and {len(many['trials'])}"
    parts = (f"{few[name]:.0f} and {many[name]:.0f}" for name in ("worker_mb", "coordinator_mb"))
    yield _measured(
        f"peak memory of worker and coordinator with {counts} trials, MB",
        f"{before:.0f} and {after:.0f}, {share:+.1%} ({', '.join(parts)})",
        f"≤ {most:+.0%}",
        share <= most,
    )


def _pruning(results: Sequence[Result]) -> Iterator[str]:
    if not any(result["change"] == "search" for result in results):
        return
    winner, deviation, stopped = figures.pruned(results)
    trials = next(one["trials"] for one in results if one["change"] == "search")
    states = [trial["state"] for trial in trials]
    yield from _title("Trials that the median rule has stopped")
    words = "unknown" if deviation is None else f"{deviation:.4f}"
    yield (
        f"{len(trials)} trials, {states.count('pruned')} of them stopped. Best: trial "
        f"{winner['number']} with {winner['value']:.4f}; standard deviation over seeds {words}."
    )
    yield ""
    yield from _table(
        ("stopped trial", "after epoch", "best value until then", "at its end", "− best trial"),
        (
            (
                str(one.number),
                str(one.epochs),
                f"{one.best:.4f}",
                "failed" if one.final is None else f"{one.final:.4f}",
                "" if one.gain is None else f"{one.gain:+.4f}",
            )
            for one in stopped
        ),
    )
    if deviation is not None and stopped:
        better = sum(one.gain is not None and one.gain > deviation for one in stopped)
        yield ""
        name = "stopped trials better than the best by a standard deviation"
        yield from _table(MEASURED, [_measured(name, str(better), "0", not better)])


def _reached_s(events: figures.Events) -> float:
    """Return when the best value was reached."""
    return next(seconds for seconds, best, _ in events if best == events[-1][1])


def _measured(name: str, value: str, target: str, reached: bool) -> tuple[str, ...]:
    return name, value, target, "yes" if reached else "no"


def _title(text: str) -> Iterator[str]:
    yield from ("", f"### {text}", "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"
