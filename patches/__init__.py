"""fairseq_patches: make a vendored, frozen fairseq tree run on current Python and PyTorch.

``model``      what a patch is: its card (symptom, cause, versions, examples) and the base class of its rule
``rules/``     one module per patch
``advice``     cards for errors no rewrite can mend: what to do instead
``registry``   all cards, in the order in which they are shown and applied
``tree``       which files of a folder are looked at; where the fairseq packages are
``scan``       first, cheap look at a file: does it parse, what does it define, which patches may concern it
``engine``     second look, with LibCST: rewrite one file
``runner``     both looks over a whole tree, in parallel
``ledger``     write, remember, revert
``explain``    error text -> patch
``cli``        the command ``fairseq-patch``

The package imports neither fairseq nor torch, and LibCST only when a file is rewritten, so that it runs where
the tree it mends does not.
"""
