"""A Jinja template and its values → one HTML page that needs no other file.

The template of every report extends `frame.html.jinja`, and `frame.html.jinja` includes
`style.css`. So all reports have the same style. The style has a light and a dark variant, and rules
for printing. The content security policy of the frame lets no script run. A template that has
scripts replaces the block `policy`.
"""

import base64
from pathlib import Path
from typing import Any

from components.pages.words import figure, name, percent, sentence
from components.words import count_text, number_text, printable

# The names of the functions that templates can use as filters.
FILTERS = {
    "count": number_text,
    "counted": count_text,
    "figure": figure,
    "name": name,
    "percent": percent,
    "printable": printable,
    "sentence": sentence,
}


def data_uri(content: bytes, kind: str) -> str:
    """Return an image file as a URI that contains all bytes of the file (RFC 2397).

    content: the bytes of the image file. kind: the second part of its MIME type, such as `jpeg` for
    `image/jpeg`.

    >>> data_uri(bytes([255, 216]), "jpeg")
    'data:image/jpeg;base64,/9g='
    """
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def render(template: Path, **values: Any) -> str:
    """Return the HTML of a page. The same template and the same values give the same text.

    template: the path of the template. values: the values that the template uses. Values are
    escaped, except values of the type `Markup` and values to which the template applies the filter
    `safe`. Raises jinja2.UndefinedError if the template uses a value that is not given.
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
