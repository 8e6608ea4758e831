"""One module per patch: its card, and the rule (``RULE``) that rewrites a file.

To add one, copy the smallest (``meshgrid.py``), fill in the card, and run ``pytest tests/patches``: the card's
examples are the tests.
"""
