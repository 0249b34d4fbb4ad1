"""A ValidationError of pydantic → sentences with the key, the rule and the received value."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

# The type of an error of pydantic → the rule. The texts of pydantic for these types
# contain names of Python's types and of our classes, which are no words of params.yaml.
EXPECTED = {
    "int_type": "be a valid integer",
    "float_type": "be a number",
    "string_type": "be a text",
    "bool_type": "be true or false",
    "tuple_type": "be a list",
    "dict_type": "be a section with keys and values",
    "model_type": "be a section with keys and values",
    "too_short": "have at least one value",
    "string_too_short": "have at least one character",
    "string_pattern_mismatch": "use letters, digits, `.`, `_` and `-`, but start with no mark",
}
# Keys that an older params.yaml does not have → the value, in YAML, with which nothing changes.
NEW_KEYS = {
    "balance.effective_number_beta": "0.999",
    "balance.costs": "{}",
    "model.pooling": "avg",
    "model.hidden": "[]",
    "model.batch_norm": "false",
    "model.l1": "0.0",
    "model.l2": "0.0",
    "model.views": "plain",
    "model.logit_adjustment": "none",
    "train.threads": "4",
    "train.precision": "float32",
    "train.accumulate": "1",
    "train.cost_weight": "10.0",
    "train.optimizer": "adamw",
    "train.momentum": "0.9",
    "train.clip_norm": "0.0",
    "train.average": "{ema: 0.0, soup: 0}",
    "train.mixup": "0.0",
    "train.cutmix": "0.0",
    "train.mix_until": "0.8",
    "train.head.views": "0",
    "train.finetune.stages": "1",
    "train.finetune.layer_decay": "1.0",
    "train.finetune.schedule": "cosine",
    "train.early_stopping.smoothing": "1",
    "search.minutes": "0.0",
    "search.within": "{}",
    "search.sampler": "tpe",
    "search.first_rung": "all",
    "search.finalists": "0",
    "search.keep": "0.5",
    "search.pruner": "median",
    "search.confirm": "{trials: 0, folds: 3}",
    "search.start": "[]",
    "evaluate.explain": "0",
    "evaluate.top_k": "3",
    "evaluate.slices": "[]",
    "evaluate.corruptions": "{kinds: [], images: 100}",
    "register.primary": "accuracy # or balanced_accuracy, macro_f1",
    "register.serving": "{max_latency_ms: null, max_memory_mb: null}",
    "register.card": "{intended_use: '', limits: ''}",
    "export": "{max_accuracy_drop: 0.01}",
}
SPACE_VALUES = "{low: 0.1, high: 0.5, log: false} or {choices: [0.1, 0.5]}"
# YAML 1.1 reads these texts as booleans; YAML 1.2, which DVC and Fovea read, does not.
OLD_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def broken_rules(error: ValidationError, tree: Any, kind: type[BaseModel]) -> list[str]:
    """Return a sentence for each key of params.yaml that breaks a rule.

    If a key breaks several rules, its sentence is about the first of these rules. If a value can
    have one of several types, the sentence is about the type that the value comes closest to. For
    example, `labels` is `any` or a list of texts: for a list, the sentence is about its items.
    error: the error that pydantic raised when it checked params.yaml. tree: the checked values.
    kind: the class of the values; its keys are offered instead of a key that is not known.
    """
    places: dict[str, dict[tuple[Any, ...], list[Any]]] = defaultdict(lambda: defaultdict(list))
    for item in error.errors():
        place = _place(item, tree)
        key = ".".join(part for part in place if isinstance(part, str))
        places[key][place].append(item)
    sentences, missing = [], []
    for key, tried in places.items():
        place, items = max(tried.items(), key=_depth)
        if items[0]["type"] == "missing" and isinstance(items[0]["loc"][-1], str):
            missing.append(key)
        else:
            known = known_keys(kind, key.split(".")[:-1])
            in_list = bool(place) and isinstance(place[-1], int)
            name = f"{key}, entry {place[-1] + 1}," if in_list else key
            sentences.append(_sentence(name, items, known))
    return [*sentences, *_missing(missing)]


def known_keys(kind: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Return the keys of the section at a path below a section. Empty: there is no such section."""
    kinds = [kind]
    for part in path:
        kinds = [
            inner
            for above in kinds
            for name, field in above.model_fields.items()
            if (field.alias or name) == part
            for inner in _sections(field.annotation)
        ]
    return [field.alias or name for found in kinds for name, field in found.model_fields.items()]


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the classes of sections that a value can have, of which one is mostly the only one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)


def _depth(tried: tuple[tuple[Any, ...], list[Any]]) -> int:
    return len(tried[0])


def _place(item: Any, tree: Any) -> tuple[Any, ...]:
    """Return the place of an error in `tree`: keys, and positions in lists.

    pydantic's place also has names of types, for example of all types that it tried. These names
    are no keys of `tree`, so they are left out.
    """
    place: list[Any] = []
    node = tree
    for part in item["loc"]:
        if isinstance(node, Mapping) and part in node:
            place.append(str(part))
            node = node[part]
        elif isinstance(node, tuple) and isinstance(part, int) and part < len(node):
            place.append(part)
            node = node[part]
    if item["type"] == "missing" and isinstance(item["loc"][-1], str):
        place.append(item["loc"][-1])
    return tuple(place)


def _sentence(key: str, items: list[Any], known: Sequence[str]) -> str:
    """Return the sentence for one place.

    items: the errors of all types that pydantic tried. known: the keys of the section.
    """
    item = items[0]
    if item["type"] == "extra_forbidden":
        near = nearest(key.rpartition(".")[2], known)
        offer = f"; {near}" if near else ""
        return f"{key} is not a known key{offer}. Received: {in_yaml(item['input'])}"
    if item["type"] == "missing" and isinstance(item["loc"][-1], int):
        return f"{key} should have more values. Received: {in_yaml(item['input'])}"
    if item["type"] == "value_error" and not key:
        return str(item["ctx"]["error"])
    rule = _rule(items)
    received = "" if "Received:" in rule else f". Received: {in_yaml(item['input'])}"
    verb = "should " if rule.startswith(("be ", "have ")) else ""
    if verb:
        return f"{key or 'params'} {verb}{rule}{received}"
    if key and rule.startswith(f"{key}."):  # The rule of a section names its key by itself.
        return f"{rule}{received}"
    return f"{key.removesuffix(',') or 'params'}: {rule}{received}"


def _missing(keys: Sequence[str]) -> list[str]:
    """Return sentences for the missing keys, of which only the last one says why to write them.

    >>> for sentence in _missing(["split.val", "train.head.views", "split.test"]):
    ...     print(sentence)
    train.head.views is missing; write `views: 0` into the section `head` of `train`
    split.val and split.test are missing; write them into params.yaml, because there are no defaults
    """
    if not keys:
        return []
    new = [f"{key} is missing; write {_new_line(key)}" for key in keys if key in NEW_KEYS]
    *first, last = [key for key in keys if key not in NEW_KEYS] or [""]
    if first:
        new.append(f"{', '.join(first)} and {last} are missing; write them into params.yaml")
    elif last:
        new.append(f"{last} is missing; write it into params.yaml")
    return [*new[:-1], f"{new[-1]}, because there are no defaults"]


def _new_line(key: str) -> str:
    """Return the line to write for a key of NEW_KEYS that is missing, and where.

    >>> _new_line("train.head.views")
    '`views: 0` into the section `head` of `train`'
    >>> _new_line("export")
    '`export: {max_accuracy_drop: 0.01}` as a section of its own'
    """
    *sections, name = key.split(".")
    if not sections:
        return f"`{name}: {NEW_KEYS[key]}` as a section of its own"
    place = " of ".join(f"`{section}`" for section in reversed(sections))
    return f"`{name}: {NEW_KEYS[key]}` into the section {place}"


def _rule(items: list[Any]) -> str:
    """Return the rule that a value breaks, and what to write instead."""
    kinds = {item["type"] for item in items}
    numbers = {"float_type", "finite_number"}
    # If a value can be an integer or a number, only `number` is named.
    tried = [item for item in items if item["type"] != "int_type" or not kinds & numbers]
    rules = list(dict.fromkeys(map(_expected, tried)))
    return " or ".join(rules).replace(" or be ", " or ") + _advice(kinds, items[0]["input"])


def _expected(item: Any) -> str:
    """Return the rule of one error of pydantic, in the words of params.yaml."""
    if item["type"] == "model_type" and item["ctx"]["class_name"] == "Choices":
        return f"be {SPACE_VALUES}"  # an entry of `search.space`
    if item["type"] == "literal_error" and item["loc"][-2:] == ("unfreeze", "name"):
        return "be none, all, or {last_blocks: 3}"
    if item["type"] == "literal_error" and item["loc"][-2:] == ("augmentation", "name"):
        policies = str(item["msg"]).removeprefix("Input should be ")
        return (
            f"be a policy ({policies}), a list of transforms, or ranges such as `rotate: 10` "
            "(docs/recipes-augmentation.md)"
        )
    if item["type"] == "too_long":
        return f"have at most {item['ctx']['max_length']} values"
    if item["type"] in EXPECTED:
        return EXPECTED[item["type"]]
    return str(item["msg"]).removeprefix("Value error, ").removeprefix("Input should ")


def _advice(kinds: set[str], value: Any) -> str:
    """Return what to write instead of `value`, or an empty text.

    kinds: the types of pydantic's errors, one for each type that the value could have.
    """
    if isinstance(value, str) and kinds & {"int_type", "float_type"}:
        number = value.strip().replace(",", ".")
        try:
            float(number)
        except ValueError:
            return "; write a number, such as 10, 0.001 or 1.0e-3"
        return f"; write {number} without quotes"
    if isinstance(value, str) and "bool_type" in kinds and value.lower() in OLD_BOOLEANS:
        return f"; write {OLD_BOOLEANS[value.lower()]}"
    if isinstance(value, float) and "int_type" in kinds and value.is_integer():
        return f"; write {int(value)}"
    if kinds == {"string_type"} and not isinstance(value, tuple | Mapping | None):
        return "; write it in quotes, because YAML reads it as a number, a boolean or a date"
    return ""


def in_yaml(value: Any) -> str:
    """Return a value nearly as it is written in params.yaml; texts are in quotes.

    >>> in_yaml({"labels": ("yes", True, None, 3)})
    "{labels: ['yes', true, null, 3]}"
    """
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {in_yaml(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(in_yaml, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if isinstance(value, str) else str(value)


def nearest(name: str, known: Sequence[str], otherwise: str = "") -> str:
    """Return words with the known names that are most like `name`, or `otherwise` if none is.

    Capitals, `-` and `_` make no difference.

    >>> nearest("MobileNetV2", ["mobilenet_v2", "vgg16"]), nearest("x", ["vgg16"], "see the list")
    ('write mobilenet_v2', 'see the list')
    """
    folded = {_folded(each): each for each in known}
    near = get_close_matches(_folded(name), folded, n=3, cutoff=0.6)
    if not near:
        return otherwise
    near = near[:1] if near[0] == _folded(name) else near
    *first, last = [folded[each] for each in near]
    return f"the nearest names are {', '.join(first)} and {last}" if first else f"write {last}"


def _folded(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
