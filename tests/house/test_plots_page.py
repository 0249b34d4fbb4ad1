"""`.dvc/plots/page.html` draws every plot of dvc.yaml, and runs no script but its own."""

import hashlib
import re
from base64 import b64encode
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / ".dvc/plots/page.html").read_text()


def test_every_plot_has_a_template_that_the_page_draws():
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    told = re.search(r"draws the templates ([^;]+);", PAGE)
    assert told
    drawn = set(re.split(r", | and ", told[1]))
    # A picture, such as study.svg, has no template.
    settings = [next(iter(plot.values())) for plot in plots if isinstance(plot, dict)]
    wanted = {setting["template"] for setting in settings}
    assert wanted <= drawn
    assert {"confusion", "line_per_class"} <= wanted


def test_the_page_runs_its_own_script_only():
    """DVC writes class names into scripts as they are, also a name that is a script."""
    assert PAGE.count("<script") == PAGE.count("</script") == 1
    script = PAGE[PAGE.index("<script>") + len("<script>") : PAGE.index("</script")]
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = re.search(r"script-src ([^;\"]+)", PAGE)
    assert allowed
    assert allowed[1] == f"'sha256-{digest}'"
    # The script must be after the plots: before them, there is nothing to read.
    assert PAGE.index("{plot_divs}") < PAGE.index("<script>")
