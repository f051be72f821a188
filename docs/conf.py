"""How Sphinx makes the site of these pages; `scripts/docs` calls it."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from harness import __version__  # noqa: E402 - it is found only now

project = "harness"
author = "the authors of harness"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "reference"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext", "_build"]
# The lexer of consoles does not know a quotation that goes on behind the next prompt; such a block is shown plainly.
suppress_warnings = ["misc.highlighting_failure"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

smartquotes = False  # two dashes are a flag's

html_theme = "furo"
html_title = f"harness {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style = "tango"
pygments_dark_style = "github-dark"
