"""Makes `tests/helpers.py` importable from every test folder: pytest puts the folder of a conftest on the path."""
