"""Side-by-side measurements: this fairseq and another one, in the same run, as ratios.

    python -m benchmarks --peer /path/to/python [--peer-path /path/to/source] [--report FOLDER]
    python -m benchmarks --list
    python -m benchmarks --only tutorial --repeat 5

Every module here with a function ``rows(setup)`` that yields ``Row`` objects (``_measure.py``) is a benchmark; its
docstring says what is measured. It is found by its file; nothing else lists it.
"""
