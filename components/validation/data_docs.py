"""Great Expectations' page, made to load pictures, fonts and scripts → one that needs no network.

Its templates fetch Bootstrap, jQuery, Vega, icons and a logo from six servers. Those that fetch are
replaced by nothing here, and a short style sheet stands in for Bootstrap's.
"""

import re

from components.validation.validation_report import Outcome

# What came of it → the class of its sign, as GX's own style sheet has them.
SIGNS: dict[Outcome, str] = {
    "passed": "fa-check-circle text-success",
    "passed with warnings": "fa-exclamation-triangle text-warning",
    "quarantined": "fa-exclamation-triangle text-warning",
    "stopped": "fa-times text-danger",
}

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem;
       color: #222; background: #fff; }
h1 { font-size: 1.6rem; }
h4, h5, h6 { font-size: 1.1rem; margin: 0.3rem 0; }
a { color: inherit; }
ul { list-style: none; padding: 0; }
#navigation li { display: inline-block; margin-right: 1rem; }
table { border-collapse: collapse; margin: 0.5rem 0; }
.table { width: 100%; }
#section-1 .table { width: auto; }
td, th { border-bottom: 1px solid #ddd; padding: 0.3rem 0.8rem; text-align: left;
         vertical-align: top; }
.table-bordered td, .table-bordered th { border: 1px solid #ddd; font-size: 0.85rem; }
.alert-secondary { background: #eee; border-radius: 4px; padding: 0.4rem 0.8rem; }
.badge { background: #e4e4ee; border-radius: 4px; padding: 0.1rem 0.4rem; }
.text-success { color: #17752c; }
.text-warning { color: #8a5a00; }
.text-danger { color: #b3202e; }
.fa-check-circle::before { content: "✓"; font-weight: bold; }
.fa-times::before { content: "✗"; font-weight: bold; }
.fa-exclamation-triangle::before { content: "!"; font-weight: bold; }
.card-header, [data-toggle="collapse"], .collapse, .lead { display: none; }
@media (prefers-color-scheme: dark) {
  body { color: #eee; background: #181818; }
  .alert-secondary, .badge { background: #333; }
  .text-success { color: #6fce84; }
  .text-warning { color: #f0b84a; }
  .text-danger { color: #ff8b93; }
}
"""

TEMPLATES = {
    "data_docs_default_styles.css": "",
    "data_docs_custom_styles.css": STYLE,
    "js_script_imports.j2": "",
    "favicon.j2": "",
    "top_navbar.j2": "<h1>Data Docs</h1>",
    "page_action_card.j2": "",
    "cloud-footer.j2": "<footer>Rendered by Great Expectations {{ ge_version }}</footer>",
}


def headline(outcome: Outcome) -> dict[str, str]:
    """Return what fills the headline's placeholders for the status and its sign."""
    sign = f'<i class="fas {SIGNS[outcome]}" aria-hidden="true"></i>'
    return {"success": outcome.capitalize(), "html_success_icon": sign}


def offline(page: str) -> str:
    """Remove what is left of style sheets on servers, and links to pages that are not written."""
    page = re.sub(r'\s*<link [^>]*href="https?:[^>]*>', "", page)
    return re.sub(r' href="\.\./[^"]*"', "", page)
