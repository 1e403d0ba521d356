# SPDX-License-Identifier: GPL-2.0-or-later
"""Sphinx settings of Colony's manual; `make docs` builds it."""

project = "Colony"
author = "Colony developers"
project_copyright = "Colony developers"

root_doc = "index"
exclude_patterns = []
nitpicky = True

html_theme = "alabaster"
html_theme_options = {
    "description": "virtual machines that survive their hosts",
    "page_width": "60em",
}
html_show_sphinx = False
html_copy_source = False

man_pages = [
    ("man/apusctl", "apusctl", "ask a witness", [author], 1),
    ("man/apusd.conf", "apusd.conf", "configuration of a witness", [author], 5),
    ("man/apusd", "apusd", "witness of a protected VM", [author], 8),
    ("man/colony", "colony", "protects a VM, and keeps it protected",
     [author], 1),
    ("man/colony.conf", "colony.conf", "a protected VM", [author], 5),
]
