# SPDX-License-Identifier: GPL-2.0-or-later
"""
Long tests carry the marker "soak" and run only with -m soak: hooks for a
conftest.py to import.
"""


def pytest_configure(config):
    """Pytest knows the marker."""
    config.addinivalue_line('markers', 'soak: takes long, needs -m soak')


def pytest_collection_modifyitems(config, items):
    """Without -m the long tests are left out."""
    if config.option.markexpr:
        return
    soak = [item for item in items if 'soak' in item.keywords]
    if soak:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if 'soak' not in item.keywords]
