"""A recurrent network that reads a name letter by letter and scores every language at the end.

The simplest kind of model: no encoder, no decoder, only ``forward`` and the scores it returns.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.data import Dictionary
from fairseq.models import BaseFairseqModel, register_model, register_model_architecture

__all__ = ["FairseqRNNClassifier"]


class LetterRNN(nn.Module):
    """One step of the network: a letter and the state so far give a new state and scores of the classes.

    Args:
        num_letters: size of the alphabet, as one-hot vectors.
        hidden_size: size of the state.
        num_classes: number of languages.
    """

    def __init__(self, num_letters: int, hidden_size: int, num_classes: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_letters = num_letters
        self.to_hidden = nn.Linear(num_letters + hidden_size, hidden_size)
        self.to_classes = nn.Linear(num_letters + hidden_size, num_classes)

    def forward(self, letter: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """``letter`` (B, num_letters), ``hidden`` (B, hidden_size) -> ``(class scores, new state)``."""
        both = torch.cat([letter, hidden], dim=1)
        return self.to_classes(both), torch.tanh(self.to_hidden(both))


@register_model("rnn_classifier")
class FairseqRNNClassifier(BaseFairseqModel):
    """Scores the languages of a batch of names; any number of letters, padding ignored."""

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        """Declare the model's option."""
        parser.add_argument("--hidden-dim", type=int, metavar="N", help="size of the recurrent state")

    @classmethod
    def build_model(cls, args: Namespace, task: Any) -> FairseqRNNClassifier:
        """Make the model for the vocabularies of the task."""
        rnn = LetterRNN(len(task.source_dictionary), args.hidden_dim, len(task.target_dictionary))
        return cls(rnn, task.source_dictionary)

    def __init__(self, rnn: LetterRNN, input_vocab: Dictionary) -> None:
        super().__init__()
        self.rnn = rnn
        self.input_vocab = input_vocab

    def forward(self, src_tokens: Tensor, src_lengths: Tensor | None = None, **_: Any) -> Tensor:
        """``src_tokens`` (B, S) -> scores (B, 1, classes), one "position" per name as the criterion expects."""
        padding = self.input_vocab.pad()
        hidden = self.rnn.to_hidden.weight.new_zeros(src_tokens.size(0), self.rnn.hidden_size)
        scores = hidden.new_zeros(src_tokens.size(0), self.rnn.to_classes.out_features)
        letters = F.one_hot(src_tokens, self.rnn.num_letters).to(hidden.dtype)
        for position in range(src_tokens.size(1)):
            new_scores, new_hidden = self.rnn(letters[:, position], hidden)
            # A name that has ended keeps what it had: padding must not change the answer.
            going = src_tokens[:, position].ne(padding).unsqueeze(1)
            scores = torch.where(going, new_scores, scores)
            hidden = torch.where(going, new_hidden, hidden)
        return scores.unsqueeze(1)


@register_model_architecture("rnn_classifier", "pytorch_tutorial_rnn")
def pytorch_tutorial_rnn(args: Namespace) -> None:
    """The size used in the tutorial."""
    args.hidden_dim = getattr(args, "hidden_dim", 128)
