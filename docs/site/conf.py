"""The site: ``make docs``. The pages of docs/, the notebooks, and the API from its docstrings."""

import omp_mlp

project = "omp_mlp"
author = "The omp_mlp developers"
copyright = author  # noqa: A001 - Sphinx's name
version = release = omp_mlp.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_design",
]
root_doc = "index"
exclude_patterns = ["README.md"]  # index.md includes it

html_theme = "pydata_sphinx_theme"
html_title = "omp_mlp"
html_theme_options = {
    "show_prev_next": False,
    "footer_end": [],
    "navigation_with_keys": False,
}
html_show_sourcelink = False
toc_object_entries_show_parents = "hide"  # the names of methods fit beside the page

# Notebooks are shown with the outputs that `make notebooks` has kept.
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_typehints = "none"  # the docstrings say types, shapes and defaults
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "inherited-members": True}
autodoc_mock_imports = ["torch"]
numpydoc_show_class_members = False  # autodoc lists them
