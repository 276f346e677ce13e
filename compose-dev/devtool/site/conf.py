"""Sphinx' configuration. It runs in the development's virtual environment, started by :mod:`.sphinx`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from devtool.settings import ROOT
from devtool.site import contents, flowchart
from devtool.version import current

project = "eratos"
author = "eratos"
release = current()
extensions = ["myst_parser"]
root_doc = contents.CONTENTS
#: Every document of the repository: one that the contents do not lead to is an error.
_listed = subprocess.run(
    ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    capture_output=True,
    text=True,
    check=True,
).stdout.split()
include_patterns = [name for name in _listed if (ROOT / name).is_file()]
#: So that Sphinx does not look through what has no documents, such as .venv.
_with_documents = {name.partition("/")[0] for name in _listed}
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in _with_documents]

#: Links to headings are those of forges.
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

html_theme = "furo"
html_title = f"eratos {release}"
html_static_path = [str(Path(__file__).with_name("static"))]
html_css_files = ["eratos.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
highlight_language = "none"


class Flowchart(SphinxDirective):
    """A ``mermaid`` block, as a picture."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the picture; what is not understood is an error at its line."""
        try:
            picture = flowchart.svg("\n".join(self.content))
        except ValueError as error:
            raise self.error(str(error)) from error
        return [nodes.raw("", f'<div class="flowchart">{picture}</div>', format="html")]


def _prepare(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = contents.prepared(name, source[0])


def setup(app: Sphinx) -> None:
    """Add what is eratos' own."""
    app.add_directive("mermaid", Flowchart)
    app.connect("source-read", _prepare)
