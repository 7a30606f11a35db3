"""docs/formats.md says what is read, refused and lost, as it is."""

import sys

from format_table import table, written_table


def test_the_table_in_the_document(monkeypatch):
    """Made anew it is the same: otherwise `python tests/format_table.py` writes it."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # the table is that of the requirements
    assert written_table() == table()
