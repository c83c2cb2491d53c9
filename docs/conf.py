"""Settings of the documentation: ``make docs`` builds it with every warning as an error, and no page asks anything of the network."""

import sys
from pathlib import Path
from typing import Any

from docutils import nodes

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from snellen.version import VERSION  # noqa: E402

project = "Snellen"
author = "The Snellen contributors"
project_copyright = "The Snellen contributors, Apache-2.0"
version = release = VERSION

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "command_reference"]
exclude_patterns = ["_build"]
highlight_language = "none"
smartquotes = False

myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
autodoc_preserve_defaults = True
autoclass_content = "class"
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# Types of other libraries have no page here, and looking them up in theirs would need the network.
nitpick_ignore_regex = [(r"py:.*", r".*")]

html_theme = "furo"
html_title = f"Snellen {VERSION}"
html_static_path = ["_static"]
html_css_files = ["snellen.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def setup(app: Any) -> None:
    """Keep what stands below an attribute as it is, of which Napoleon takes what comes before the first colon for a type; set dashes."""
    kept: dict[str, list[str]] = {}

    def keep(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        if what in ("attribute", "property"):
            kept[name] = list(lines)

    def restore(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        lines[:] = kept.pop(name, lines)

    def dashes(app: Any, doctree: nodes.document, page: str) -> None:
        for text in list(doctree.findall(nodes.Text)):
            if text == " -- ":
                text.parent.replace(text, nodes.Text(" – "))

    app.connect("doctree-resolved", dashes)
    app.connect("autodoc-process-docstring", keep, priority=400)
    app.connect("autodoc-process-docstring", restore, priority=600)
