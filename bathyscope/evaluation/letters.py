"""Words that are one token, their activations in a fixed sentence, and probes that read the first letter."""

import re
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.activations.document import Document
from bathyscope.activations.packing import Packing, bos_token, encode
from bathyscope.errors import ConfigError
from bathyscope.evaluation.probes import dense_probe
from bathyscope.features.tokens import TokenTable
from bathyscope.models.hooks import run
from bathyscope.models.model import Model

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS_PER_BATCH = 128
PENALTY = 0.01
"""Inverse strength of L2 of the letter probes, on standardised activations."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Words:
    """W words of one token each."""

    tokens_W: Int[np.ndarray, " W"]
    """Token ids."""
    letters_W: Int[np.ndarray, " W"]
    """Number of the first letter among `letters`."""
    letters: tuple[str, ...]
    """Letters that have enough words."""
    is_train_W: Bool[np.ndarray, " W"]
    """True where the probe is fitted and main features are chosen."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LetterProbes:
    """One direction per letter, and what the probes say of each word."""

    directions_LD: Float[Tensor, "L D"]
    """Unit vectors: the activation's own units."""
    predicted_W: Int[np.ndarray, " W"]
    """The letter with the highest score."""
    letters_W: Int[np.ndarray, " W"]
    """The true letter."""
    is_train_W: Bool[np.ndarray, " W"]
    """True where the probes were fitted."""

    def is_counted(self, letter: int) -> Bool[np.ndarray, " W"]:
        """Held-out words of `letter` that the probe reads rightly."""
        return ~self.is_train_W & (self.letters_W == letter) & (self.predicted_W == letter)


def words_by_letter(model: Model, *, per_letter: int, min_words: int, seed: int) -> Words:
    """At most `per_letter` tokens of each first letter that are a space and three or more letters a–z.

    Halved at random within each letter. Raises ConfigError when no two letters have `min_words` words.
    """
    generator = np.random.default_rng(seed)
    found: dict[str, list[int]] = {}
    for token, piece in enumerate(TokenTable.of(model.tokenizer).pieces[: model.n_vocabulary]):
        if re.fullmatch(rb" [a-z]{3,}", piece):
            found.setdefault(chr(piece[1]), []).append(token)
    letters = tuple(letter for letter in LETTERS if len(found.get(letter, ())) >= min_words)
    if len(letters) < 2:
        raise ConfigError(
            f"the vocabulary of {model.name} has no two letters with {min_words} words of one token; lower min_words"
        )
    chosen = [generator.permutation(sorted(found[letter]))[:per_letter] for letter in letters]
    return Words(
        tokens_W=np.concatenate(chosen),
        letters_W=np.repeat(np.arange(len(letters)), [len(tokens) for tokens in chosen]),
        letters=letters,
        is_train_W=np.concatenate([np.arange(len(tokens)) % 2 == 0 for tokens in chosen]),
    )


def word_activations(
    model: Model, hookpoint: str, tokens_W: Int[np.ndarray, " W"], *, template: str
) -> Float[Tensor, "W D"]:
    """The activation at each word behind BOS and the template. The model sees nothing behind the word."""
    bos = bos_token(model.tokenizer, Packing())
    head = [*([] if bos is None else [bos]), *encode(model.tokenizer, Document(template, ""), chat=False).tolist()]
    parts: list[Tensor] = []
    for start in range(0, len(tokens_W), WORDS_PER_BATCH):
        words_B1 = torch.from_numpy(tokens_W[start : start + WORDS_PER_BATCH].astype(np.int64))[:, None]
        tokens_BS = torch.cat([torch.tensor([head]).expand(len(words_B1), -1), words_B1], dim=1)
        parts.append(run(model, tokens_BS, hookpoint)[hookpoint][:, -1].float().cpu())
    return torch.cat(parts)


def fit_letter_probes(words: Words, x_WD: Float[Tensor, "W D"]) -> LetterProbes:
    """One logistic probe per letter against the others, fitted on the training half, as directions of length 1."""
    x = x_WD.numpy()
    fitted = [
        dense_probe(x[words.is_train_W], words.letters_W[words.is_train_W] == letter, penalty=PENALTY)
        for letter in range(len(words.letters))
    ]
    scores_WL = np.stack([each.scores(x) for each in fitted], axis=1)
    directions_LD = torch.from_numpy(np.stack([each.weights for each in fitted])).float()
    return LetterProbes(
        directions_LD=torch.nn.functional.normalize(directions_LD, dim=1),
        predicted_W=scores_WL.argmax(1),
        letters_W=words.letters_W,
        is_train_W=words.is_train_W,
    )
