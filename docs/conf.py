"""The site: Sphinx reads the Markdown pages of this folder. `make docs` builds it, strictly."""

project = "Cutwork"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
nitpicky = True
smartquotes = False  # `--` begins an option.

# Links between pages name a heading as a code host does, such as `redis.md#settings`.
myst_heading_anchors = 4

html_theme = "furo"
html_title = "Cutwork"
html_static_path = ["_static"]
html_css_files = ["cutwork.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
