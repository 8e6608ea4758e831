"""What the scripts of published recipes do, as ``python -m fairseq_cli.recipes NAME ...``.

``scripts``       the names, and the module and function behind each
``download``      fetch an archive: https, resumed, checked
``iwslt14``       ``prepare-iwslt14.sh``
``wmt14``         ``prepare-wmt14en2de.sh``, ``prepare-wmt14en2fr.sh``
``wikitext103``   ``prepare-wikitext-103.sh``
``bleu``          ``compound_split_bleu.sh``, ``sacrebleu.sh``
``pieces``        ``spm_train.py``, ``spm_encode.py``, ``spm_decode.py``
``rm_pt``         ``rm_pt.py``

The files in ``examples/`` and ``scripts/`` find a Python and call this package; they hold nothing else.
"""
