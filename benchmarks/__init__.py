"""Side-by-side measurements: this fairseq and another one, in the same run, as ratios.

    python -m benchmarks --peer /path/to/python [--peer-path /path/to/source] [--report FOLDER]
    python -m benchmarks --list
    python -m benchmarks --only tutorial --repeat 5

Every module here whose name has no underscore in front is a benchmark: a docstring that says what is measured, and a
function ``rows(setup)`` that yields ``Row`` objects (``_measure.py``). It is found by its file; nothing else lists it.
"""
