"""A template of a report and its values → one HTML page that needs no other file.

Every report extends `frame.html.jinja`, which includes `style.css`. So all have one style: light
and dark, for print too, without a script.
"""

import base64
from pathlib import Path
from typing import Any

from components.pages.words import figure, name, percent
from components.words import count_text, number_text

FILTERS = {
    "count": number_text,
    "counted": count_text,
    "figure": figure,
    "name": name,
    "percent": percent,
}


def data_uri(content: bytes, kind: str) -> str:
    """Return the bytes of an image file as an address that holds the picture itself (RFC 2397).

    >>> data_uri(bytes([255, 216]), "jpeg")
    'data:image/jpeg;base64,/9g='
    """
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def render(template: Path, **values: Any) -> str:
    """Return the page; the same template and values give the same bytes.

    Values are escaped unless a template says `safe`. A value that the template uses and that is
    not given raises jinja2.UndefinedError.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(FILTERS)
    return environment.get_template(template.name).render(values)
