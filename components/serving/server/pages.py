"""A model and an address → the pages of the server: one to drop a picture on, and its interface."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.pages.page import render

DROP = Path(__file__).with_name("drop.html.jinja")
DOCS = Path(__file__).with_name("docs.html.jinja")


def drop_page(model: Mapping[str, Any], classes: int, address: str, token: bool) -> str:
    """Return the HTML of the page to drop a picture on.

    model: name, version and sha256. classes: their number. address: that of the server, without a
    slash at the end. token: whether the examples must send one.
    """
    return render(DROP, model=model, top=min(classes, 3), address=address, token=token)


@dataclass(frozen=True)
class Operation:
    """A path of the interface, as the page shows it. values: (name, type, description)."""

    method: str
    path: str
    text: str
    values: tuple[tuple[str, str, str], ...]
    bodies: tuple[tuple[str, str], ...]
    answers: tuple[tuple[str, str, str], ...]


def docs_page(schema: Mapping[str, Any]) -> str:
    """Return the HTML of a page with all paths. schema: OpenAPI 3.1, as a tree."""
    return render(DOCS, title=schema["info"]["title"], operations=list(_operations(schema)))


def _operations(schema: Mapping[str, Any]) -> Iterator[Operation]:
    for path, methods in schema["paths"].items():
        for method, found in methods.items():
            bodies = found.get("requestBody", {}).get("content", {})
            yield Operation(
                method.upper(),
                path,
                found.get("description", found.get("summary", "")),
                tuple(
                    (value["name"], _text(value["schema"]), value.get("description", ""))
                    for value in found.get("parameters", ())
                ),
                tuple((kind, _text(content["schema"])) for kind, content in bodies.items()),
                tuple(
                    (status, answer["description"], _content(answer, schema))
                    for status, answer in found["responses"].items()
                ),
            )


def _content(answer: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    tree = answer.get("content", {}).get("application/json", {}).get("schema", {})
    name = tree.get("$ref", "").rpartition("/")[2]
    return _text(schema["components"]["schemas"][name]) if name else ""


def _text(tree: Any) -> str:
    return json.dumps(tree, indent=1)
