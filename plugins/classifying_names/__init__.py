"""A task of its own: which language does a name come from?

    fairseq-train plugins/classifying_names/names --user-dir plugins/classifying_names \\
        --task simple_classification --arch pytorch_tutorial_rnn --optimizer adam --lr 0.01 --max-tokens 1000

``task``      data as text files, a batch is names (letters) and their languages
``model``     a recurrent network over letters
``classify``  command: asks a trained model for the language of names that you type
``names/``    a small list of names, made for this plugin
"""

from . import model, task

__all__ = ["model", "task"]
