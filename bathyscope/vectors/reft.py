"""`ReFTr1`: one direction that finds a concept and writes it, learnt through the model (AxBench, arXiv 2501.17148)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope import progress
from bathyscope.errors import ConfigError
from bathyscope.models.hooks import replace
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs
from bathyscope.models.prompts import special_tokens
from bathyscope.vectors.learner import Learned, Lesson


@dataclass(frozen=True, slots=True, kw_only=True)
class ReFTr1:
    """`Ψ(h) = ReLU(h·w)`, `h' = h + (mean of the text's k largest Ψ) · w`, |w| = 1, at every token but special ones.

    `loss = mean -log p(next token | h') + λ · mean over texts of Σ Ψ outside the k largest`, on true texts; λ grows in
    equal steps from 0. False texts are not looked at: the detection figures are a test on a task it was not taught.
    """

    n_epochs: int = 3
    """Times that each true text is seen."""
    batch_texts: int = 6
    """Texts of a step."""
    max_steps: int = 200
    """Most steps, whatever the number of texts."""
    max_tokens: int = 128
    """Tokens of a text that are read."""
    lr: float = 0.01
    """Step size of Adam."""
    k: int = 8
    """Tokens of a text whose Ψ sets the strength."""
    l1: float = 0.005
    """λ at the last step."""
    save_every: int = 10
    """Steps between checkpoints. Changes no byte of the result."""

    def __post_init__(self) -> None:
        if min(self.n_epochs, self.batch_texts, self.max_steps, self.k, self.save_every) < 1 or self.max_tokens < 2:
            raise ConfigError("n_epochs, batch_texts, max_steps, k and save_every must be at least 1, max_tokens 2")
        if not self.lr > 0 or self.l1 < 0:
            raise ConfigError("lr must be above 0 and l1 at least 0")

    def learn(self, lesson: Lesson) -> Learned:
        """The direction w after the last step."""
        model = lesson.require_model("ReFT-r1")
        examples = lesson.examples
        rows = [
            row[: self.max_tokens] for row, is_true in zip(examples.tokens, examples.labels_T, strict=True) if is_true
        ]
        batches = list(self._batches(rows, lesson.seed))
        run = _Run(self, model, lesson.hookpoint, _start(lesson, width=examples.x_ND.shape[1]), len(batches))
        if lesson.state is not None:
            run.load(lesson.state)
        for batch in batches[run.step :]:
            figures = run.take([rows[number] for number in batch])
            progress.report("reft-r1", run.step, len(batches), "steps", **figures)
            if run.step % self.save_every == 0:
                lesson.save(run.state())
        return Learned(direction_D=run.w_D.detach().clone(), notes={"steps": run.step, "loss": run.losses[-1]})

    def _batches(self, rows: Sequence[Sequence[int]], seed: int) -> Iterator[list[int]]:
        """Text numbers of each step: a fresh order in every epoch."""
        generator, per_epoch = torch.Generator().manual_seed(seed), math.ceil(len(rows) / self.batch_texts)
        orders = [torch.randperm(len(rows), generator=generator).tolist() for _ in range(self.n_epochs)]
        for step in range(min(self.max_steps, self.n_epochs * per_epoch)):
            start = step % per_epoch * self.batch_texts
            yield orders[step // per_epoch][start : start + self.batch_texts]


@dataclass(slots=True)
class _Run:
    """The direction in training."""

    settings: ReFTr1
    model: Model
    hookpoint: str
    w_D: Tensor
    n_steps: int
    step: int = 0
    losses: list[float] = field(default_factory=list[float])
    optimiser: torch.optim.Adam = field(init=False)

    def __post_init__(self) -> None:
        self.w_D.requires_grad_()
        self.optimiser = torch.optim.Adam([self.w_D], lr=self.settings.lr)

    def take(self, rows: Sequence[Sequence[int]]) -> dict[str, float]:
        """One step on a batch of texts."""
        inputs = padded_inputs(self.model, rows, side="right")
        special = torch.tensor(sorted(special_tokens(self.model)), device=self.model.device)
        is_text_BS = inputs["attention_mask"].bool() & ~torch.isin(inputs["input_ids"], special)
        edit = _Edit(self.w_D, is_text_BS, self.settings.k)
        with torch.enable_grad(), replace(self.model, {self.hookpoint: edit}):
            logits_BSV = self.model.network(**inputs, use_cache=False).logits
            loss = _next_token_loss(logits_BSV, inputs["input_ids"], inputs["attention_mask"].bool())
            assert edit.rest is not None
            total = loss + self.settings.l1 * (self.step / max(1, self.n_steps - 1)) * edit.rest
            self.optimiser.zero_grad()
            total.backward()
        self.optimiser.step()
        with torch.no_grad():
            self.w_D /= self.w_D.norm()
        self.step += 1
        self.losses.append(float(loss.detach()))
        return {"loss": self.losses[-1], "rest": float(edit.rest.detach())}

    def state(self) -> dict[str, Any]:
        """Everything that the next step needs, as JSON data: float32 survives it."""
        moments = self.optimiser.state[self.w_D]
        tensors = {"w": self.w_D.detach(), "exp_avg": moments["exp_avg"], "exp_avg_sq": moments["exp_avg_sq"]}
        return {"step": self.step, "losses": list(self.losses), **{name: t.tolist() for name, t in tensors.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.step, self.losses = int(state["step"]), list(state["losses"])
        like = {"dtype": self.w_D.dtype, "device": self.w_D.device}
        with torch.no_grad():
            self.w_D.copy_(torch.tensor(state["w"], **like))
        moments = {name: torch.tensor(state[name], **like) for name in ("exp_avg", "exp_avg_sq")}
        self.optimiser.state[self.w_D] = {"step": torch.tensor(float(self.step)), **moments}


@dataclass(slots=True)
class _Edit:
    """The replacement at the hookpoint; keeps the sum of Ψ outside the k largest for the loss."""

    w_D: Tensor
    is_text_BS: Bool[Tensor, "B S"]
    k: int
    rest: Tensor | None = None

    def __call__(self, x_BSD: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        psi_BS = (x_BSD.float() @ self.w_D).relu() * self.is_text_BS
        largest_BK = psi_BS.topk(min(self.k, psi_BS.shape[1]), dim=1).values
        counted_B = self.is_text_BS.sum(1).clamp(min=1, max=largest_BK.shape[1])
        self.rest = (psi_BS.sum(1) - largest_BK.sum(1)).mean()
        strength_B = largest_BK.sum(1) / counted_B
        moved_BSD = strength_B[:, None, None] * self.is_text_BS[..., None] * self.w_D
        return x_BSD + moved_BSD.to(x_BSD.dtype)


def _start(lesson: Lesson, *, width: int) -> Float[Tensor, " D"]:
    """A random unit vector with positive mean product with the texts: ReLU lets no gradient through below 0."""
    w_D = torch.randn(width, generator=torch.Generator().manual_seed(lesson.seed))
    w_D *= 1.0 if bool((lesson.examples.x_ND @ w_D).mean() >= 0) else -1.0
    return (w_D / w_D.norm()).to(lesson.require_model("ReFT-r1").device)


def _next_token_loss(
    logits_BSV: Float[Tensor, "B S V"], tokens_BS: Tensor, is_real_BS: Bool[Tensor, "B S"]
) -> Float[Tensor, ""]:
    """Mean of -log p over real tokens behind the first."""
    targets_BS = tokens_BS[:, 1:].masked_fill(~is_real_BS[:, 1:], -100)
    return torch.nn.functional.cross_entropy(logits_BSV[:, :-1].flatten(0, 1).float(), targets_BS.flatten())
