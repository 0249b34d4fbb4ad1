"""The text of params.yaml → nested values, as DVC reads them.

DVC reads YAML 1.2 with ruamel.yaml. PyYAML reads YAML 1.1, in which `1e-05` is a text and `yes` is
true. So every place that reads params.yaml uses this module. Then a value that DVC has written has
the same meaning in a stage.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import UserError, one_line


def parse(text: str, path: Path) -> Any:
    """Return the nested values of a YAML text.

    path: the path of the file; only error messages contain it.
    Raises UserError if the text is not valid YAML, if a key is written twice, or if a value
    contains itself.

    >>> parse("{rate: 1e-05, labels: [yes, no]}", Path("params.yaml"))
    {'rate': 1e-05, 'labels': ['yes', 'no']}
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="safe").load(text)
    except DuplicateKeyError:
        raise UserError(f"{path} has {_repeated_key(text)}") from None
    except (YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
        problem = one_line(error, longest=None).replace('in "<unicode string>", ', "in ")
        raise UserError(
            f"{path} is not valid YAML{_what_to_correct(text, error)}. Received: {problem}"
        ) from None
    if _contains_itself(tree):
        raise UserError(
            f"{path} has an alias (such as `*name`) inside of its own anchor (`&name`); write the "
            "value instead of the alias. Received: a value that contains itself"
        )
    return tree


def digest(tree: Mapping[str, Any]) -> str:
    """Return the sha256 of a mapping as JSON with sorted keys, which is that of every equal one.

    The tag `params` of a model version is the digest of params.yaml.
    """
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def scalar(value: str | float) -> str:
    """Return a value as YAML, in the form in which DVC writes it into params.yaml.

    >>> scalar("2026"), scalar(1e-05), scalar("photos")
    ("'2026'", '1e-05', 'photos')
    """
    from io import StringIO

    from ruamel.yaml import YAML

    stream = StringIO()
    YAML().dump(value, stream)
    return stream.getvalue().partition("\n")[0]  # The second line is YAML's mark of the end, `...`.


def one_line_mapping(values: Mapping[str, Any]) -> str:
    """Return a mapping of plain values as YAML on one line.

    >>> one_line_mapping({"train.optimizer": "sgd", "train.momentum": 0.9})
    '{train.optimizer: sgd, train.momentum: 0.9}'
    """
    from io import StringIO

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style, yaml.width = True, sys.maxsize
    stream = StringIO()
    yaml.dump(dict(values), stream)
    return stream.getvalue().rstrip("\n")


def compose(text: str) -> Any:
    """Return the root node of a YAML text; the marks of a node are its place in the text."""
    from ruamel.yaml import YAML

    # The parser in C has no exact marks.
    return YAML(typ="safe", pure=True).compose(text)


def _what_to_correct(text: str, error: Exception) -> str:
    """Return a part of an error message: which line to correct. It is empty if this is unknown."""
    lines = enumerate(text.splitlines(), start=1)
    if conflict := next((number for number, line in lines if line.startswith("<<<<<<< ")), None):
        return f"; it has a conflict of git in line {conflict}: keep one of the two versions"
    mark = getattr(error, "problem_mark", None)
    # The parser may notice a mistake only in the line after it.
    return f"; correct line {mark.line + 1} or a line shortly before it" if mark else ""


def _contains_itself(node: Any, above: tuple[int, ...] = ()) -> bool:
    """Return whether a list or mapping is one of its own values, at any depth.

    above: the ids of the lists and mappings that contain `node`.
    """
    if not isinstance(node, dict | list):
        return False
    inner = node.values() if isinstance(node, dict) else node
    inside = (*above, id(node))
    return id(node) in above or any(_contains_itself(value, inside) for value in inner)


def _repeated_key(text: str) -> str:
    """Return words for the first key that a mapping of the text has twice."""
    for pairs in _mappings(compose(text)):
        seen: dict[tuple[str, str], tuple[Any, Any]] = {}
        for again in pairs:
            name = (again[0].tag, str(again[0].value))
            if name in seen:
                first = seen[name]
                lines = [pair[0].start_mark.line + 1 for pair in (first, again)]
                where = "lines {} and {}".format(*lines)
                return (
                    f"the key `{again[0].value}` twice, in {where}; remove one of them. "
                    f"Received: {_in_words(first)} and {_in_words(again)}"
                )
            seen[name] = again
    return "a key twice; remove one of them. Received: two equal keys"


def _mappings(node: Any) -> Iterator[list[tuple[Any, Any]]]:
    """Yield the pairs of key and value of every mapping in a node whose keys are plain values."""
    if not isinstance(node.value, list):
        return
    pairs = [item for item in node.value if isinstance(item, tuple)]
    yield [pair for pair in pairs if isinstance(pair[0].value, str)]
    for inner in [pair[1] for pair in pairs] or node.value:
        yield from _mappings(inner)


def _in_words(pair: tuple[Any, Any]) -> str:
    key, value = pair
    return f"{key.value}: {'…' if isinstance(value.value, list) else value.value}"
