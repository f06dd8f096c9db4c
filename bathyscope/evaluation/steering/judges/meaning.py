"""`MeaningJudge`: an answer is about a concept when its words lie near those of the concept's sentences.

Texts are means of static token embeddings, rare tokens counting more; a logistic regression per concept tells its
sentences from their counterparts and from all other concepts'. It reads no activation that steering touches.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from torch import nn

from bathyscope.errors import ConfigError
from bathyscope.evaluation.definitions import Definition
from bathyscope.evaluation.labelled import LabelledText
from bathyscope.evaluation.steering.answers import SteeredAnswer
from bathyscope.evaluation.steering.judges.judge import BEST, Aspect, Known
from bathyscope.models.model import Model

PENALTY = 0.1
"""Inverse strength of L2."""
COMMON = 1e-2
"""Tokens of this share count half as much as the rarest (smooth inverse frequency, Arora et al. 2017)."""
FOLDS = 6
LIKELY = 0.5
"""Probability from which on the rating is 2; half of it gives 1."""


class MeaningJudge:
    """Rating from the probability that a text is about the concept: 2 from .5 on, 1 from .25 on."""

    def __init__(self, model: Model, definitions: Mapping[str, Definition]) -> None:
        """Learn from the concepts' sentences; `model` lends its embeddings. Raises ConfigError for a single concept."""
        if len(definitions) < 2:
            raise ConfigError("the judge of meaning tells concepts from each other: give two or more")
        self.name = "meaning"
        self.aspect: Aspect = "concept"
        self._concepts = tuple(definitions)
        self._rows = [(concept, example) for concept, own in definitions.items() for example in own.labelled.examples]
        self._embed = _Embedder(model, [example.text for _, example in self._rows])
        self._x_TD = self._embed([example.text for _, example in self._rows])
        everything = np.ones(len(self._rows), dtype=bool)
        self._probes = {concept: self._fitted(concept, everything) for concept in self._concepts}

    def rate(self, answers: Sequence[SteeredAnswer]) -> list[int | None]:
        """0, 1 or 2 by the probability."""
        x_TD = self._embed([answer.text for answer in answers])
        p_CT = {concept: self._probability(probe, x_TD) for concept, probe in self._probes.items()}
        return [_rating(p_CT[answer.concept][number]) for number, answer in enumerate(answers)]

    def calibration(self) -> list[Known]:
        """The sentences of all concepts, each rated by a probe that has seen neither of its pair."""
        found: list[Known] = []
        for concept in self._concepts:
            own = [number for number, (of, _) in enumerate(self._rows) if of == concept]
            groups = sorted({self._rows[number][1].group for number in own})
            fold_of = {group: place % FOLDS for place, group in enumerate(groups)}
            for fold in range(FOLDS):
                out = [number for number in own if fold_of[self._rows[number][1].group] == fold]
                kept = np.ones(len(self._rows), dtype=bool)
                kept[out] = False
                p_T = self._probability(self._fitted(concept, kept), self._x_TD[out])
                for number, p in zip(out, p_T.tolist(), strict=True):
                    example: LabelledText = self._rows[number][1]
                    found.append(Known(is_true=example.label, rating=_rating(p), group=f"{concept} {example.group}"))
        return found

    def _fitted(self, concept: str, kept_T: np.ndarray) -> object:
        from sklearn.linear_model import LogisticRegression

        labels_T = np.array([of == concept and example.label for of, example in self._rows])
        probe = LogisticRegression(C=PENALTY, max_iter=1000, class_weight="balanced")
        return probe.fit(self._x_TD[kept_T], labels_T[kept_T])

    @staticmethod
    def _probability(probe: object, x_TD: Float[np.ndarray, "T D"]) -> Float[np.ndarray, " T"]:
        from sklearn.linear_model import LogisticRegression

        assert isinstance(probe, LogisticRegression)
        return probe.predict_proba(x_TD)[:, 1]


def _rating(p: float) -> int:
    return BEST if p >= LIKELY else int(p >= LIKELY / 2)


class _Embedder:
    """Texts as weighted means of static token embeddings, in units of the sentences' spread."""

    def __init__(self, model: Model, texts: Sequence[str]) -> None:
        embeddings = model.network.get_input_embeddings()
        assert isinstance(embeddings, nn.Embedding)
        W_VD = embeddings.weight.detach().float().cpu().numpy()
        W_VD = W_VD - W_VD.mean(0)
        self._W_VD = W_VD / np.maximum(np.linalg.norm(W_VD, axis=1, keepdims=True), 1e-12)
        self._model = model
        counts = Counter(token for text in texts for token in self._tokens(text))
        total = sum(counts.values())
        self._share = {token: count / total for token, count in counts.items()}
        self._spread = 1.0
        self._spread = float(self(texts).std())

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "T D"]:
        rows: list[np.ndarray] = []
        for text in texts:
            tokens = self._tokens(text)
            weights = np.array([COMMON / (COMMON + self._share.get(token, 0.0)) for token in tokens])
            mean_D = (self._W_VD[tokens] * weights[:, None]).sum(0) / max(float(weights.sum()), 1e-12)
            rows.append(mean_D / self._spread)
        return np.stack(rows)

    def _tokens(self, text: str) -> list[int]:
        return [
            int(token) for token in self._model.tokenizer(" " + text.strip(), add_special_tokens=False)["input_ids"]
        ]
