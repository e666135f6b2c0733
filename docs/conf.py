"""How the documentation is built: `nox -s docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from prisma_mgmt import __version__  # the path has to be set first

project = "prisma_mgmt"
version = release = __version__
html_show_copyright = False
html_title = f"prisma_mgmt {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "docstrings", "sequence"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = False  # models refer to types that the reference does not list one by one

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["prisma.css"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_preserve_defaults = True
intersphinx_mapping = {}
suppress_warnings = ["ref.python"]  # `type` and `list` are fields and methods of many classes
