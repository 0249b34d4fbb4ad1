"""The tags and params of a model, and of the champion → what the model was made from, in words."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from components.review.facts import ModelFacts

SHORT = 12  # characters of a hash
DIFFERENCES = 20  # params or packages that are listed
UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Line:
    """A part of the lineage. term: what it is about. text: what it says. items: a list below it."""

    term: str
    text: str
    items: tuple[str, ...] = ()


def lineage_lines(model: ModelFacts, champion: ModelFacts | None) -> Iterator[Line]:
    """Yield the lineage of a model in words, compared with that of the champion.

    champion: None if there is no other model to compare with.
    """
    yield _code(model)
    yield Line("Data", _same_or_other(model, champion, "data_id", "images and labels"))
    yield Line("Split", _split(model, champion))
    yield Line("Start", _start(model, champion))
    yield _params(model, champion)
    yield Line("Seed of the training", _value(model, "train.seed", champion))
    yield _packages(model, champion)


def _code(model: ModelFacts) -> Line:
    if model.commit is None:
        return Line("Code", model.tags.get("git.commit") or UNKNOWN)
    date = model.tags.get("git.commit_date")
    text = f"commit {model.commit[:SHORT]}" + (f" of {date}" if date else "")
    dirty = model.tags.get("git.dirty", "no")
    if dirty != "no":
        text += f", with uncommitted changes ({dirty.removeprefix('yes: ')})"
    return Line("Code", text)


def _same_or_other(model: ModelFacts, champion: ModelFacts | None, tag: str, what: str) -> str:
    own = model.tags.get(tag)
    if own is None:
        return UNKNOWN
    text = f"{what} {own[:SHORT]}"
    theirs = champion.tags.get(tag) if champion else None
    if champion is None:
        return text
    if theirs is None:
        return f"{text}; those of {_short(champion)} are {UNKNOWN}"
    if theirs == own:
        return f"{text}, the same as those of {_short(champion)}"
    return f"{text}, other than those of {_short(champion)} ({theirs[:SHORT]})"


def _split(model: ModelFacts, champion: ModelFacts | None) -> str:
    text = _same_or_other(model, champion, "split_id", "train, val and test")
    seed = model.tags.get("split.seed")
    return text if seed is None else f"{text}; seed {seed}"


def _start(model: ModelFacts, champion: ModelFacts | None) -> str:
    start = model.tags.get("started_from")
    if start is None:
        return UNKNOWN
    if start == "none":
        return "random weights"
    if start == "imagenet":
        return "weights from ImageNet"
    if champion is not None and start == champion.model_id:
        return f"the weights of {_short(champion)}"
    return f"the weights of the model file {start[:SHORT]}"


def _params(model: ModelFacts, champion: ModelFacts | None) -> Line:
    if not model.params:
        return Line("Params", UNKNOWN)
    if champion is None:
        changed = re.split(r", | and ", model.tags.get("git.dirty", "").removeprefix("yes: "))
        if "params.yaml" in changed:
            return Line("Params", "in the MLflow run; params.yaml was not committed")
        return Line("Params", "in params.yaml of the commit, and in the MLflow run")
    if not champion.params:
        return Line("Params", f"those of {_short(champion)} are {UNKNOWN}")
    return _differences("Params", model.params, champion.params, champion)


def _packages(model: ModelFacts, champion: ModelFacts | None) -> Line:
    own = _installed(model)
    if not own:
        return Line("Packages", UNKNOWN)
    theirs = _installed(champion) if champion else {}
    if champion is None or not theirs:
        return Line("Packages", ", ".join(f"{name} {number}" for name, number in own.items()))
    return _differences("Packages", own, theirs, champion)


def _differences(
    term: str, own: Mapping[str, str], theirs: Mapping[str, str], champion: ModelFacts
) -> Line:
    names = sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))
    if not names:
        return Line(term, f"the same as those of {_short(champion)}")
    items = [
        f"{name}: {_cut(own.get(name))} ({_short(champion)}: {_cut(theirs.get(name))})"
        for name in names[:DIFFERENCES]
    ]
    if len(names) > DIFFERENCES:
        items.append(f"and {len(names) - DIFFERENCES} more")
    count = "one differs" if len(names) == 1 else f"{len(names)} differ"
    return Line(term, f"{count} from {_short(champion)}", tuple(items))


def _installed(model: ModelFacts) -> dict[str, str]:
    """Return package → version, from the tags `python` and `packages`."""
    listed = [model.tags.get("python", ""), *model.tags.get("packages", "").split(", ")]
    return dict(re.findall(r"^(\S+) (\S+)$", "\n".join(listed), re.MULTILINE))


def _value(model: ModelFacts, tag: str, champion: ModelFacts | None) -> str:
    # An older Fovea had one seed for splits and training.
    own, theirs = (
        each.tags.get(tag, each.tags.get("seed")) if each else None for each in (model, champion)
    )
    if own is None:
        return UNKNOWN
    if champion is None or theirs is None or own == theirs:
        return own
    return f"{own} ({_short(champion)}: {theirs})"


def _cut(value: str | None, longest: int = 200) -> str:
    if value is None:
        return "–"
    return value if len(value) <= longest else f"{value[:longest]}…"


def _short(champion: ModelFacts) -> str:
    return f"version {champion.version}"
