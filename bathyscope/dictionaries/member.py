"""One dictionary that learns from a stream: trainee, optimiser and figures.

Several members can learn from the same batches; none knows of the others, of the stream or of files.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.config import from_json, to_json
from bathyscope.dictionaries.blocks import BlockScale, Scale
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.meter import Meter
from bathyscope.dictionaries.ranks.division import divide, gathered
from bathyscope.dictionaries.ranks.gradients import sum_gradients, total_norm
from bathyscope.dictionaries.ranks.losses import whole_loss
from bathyscope.dictionaries.ranks.mesh import ALONE, Mesh
from bathyscope.dictionaries.schedule import Optimisation
from bathyscope.dictionaries.trainee import KindSettings, Loss

State = dict[str, Tensor]
"""Tensors by name, as they are written to a checkpoint."""

FAR = 100.0
"""A reconstruction error so many times larger than at the start, and than that of the mean vector, is no learning."""


class Member:
    """A dictionary in training."""

    def __init__(
        self, kind: KindSettings, *, d_model: int, optimisation: Optimisation, seed: int, device: str = "cpu"
    ) -> None:
        """Build the trainee from `seed` on the CPU (the same start on every device) and move it."""
        self.kind, self.d_model, self.optimisation, self.device = kind, d_model, optimisation, device
        self.mesh = ALONE
        self.generator = torch.Generator().manual_seed(seed)
        self.trainee = kind.build(d_model, generator=self.generator).to(device)
        self._take_scale(1.0)
        self.meter = Meter()
        self.least_sane: float | None = None
        self._take_parameters()

    def start(self, sample_ND: Float[Tensor, "N D"]) -> None:
        """Fix the activation scale and what begins from data, from a sample of raw activations."""
        self._take_scale(self.kind.scale(sample_ND))
        self.trainee.start(sample_ND.float() * self._factor(sample_ND.device))

    def adopt(self, dictionary: Dictionary) -> None:
        """Go on from a finished dictionary, at the scale that `start` fixed; ConfigError when it does not fit."""
        self.trainee.adopt(dictionary.to(self.device), self.scale)

    def join(self, mesh: Mesh) -> None:
        """From now on hold this rank's features alone and learn with the others; after `start` and `adopt`.

        Raises ConfigError for a kind that one process must train, or that cannot be divided evenly.
        """
        if not mesh.is_alone:
            whole_loss(self.kind)
            divide(self.trainee, self.kind, mesh)
            self.mesh = mesh
            self._take_parameters()

    def leave(self) -> None:
        """Go back to one process: the first rank holds all features again, to be folded. Called by every rank."""
        if self.mesh.is_alone:
            return
        tensors = gathered(self.trainee.state_dict(), self.mesh)
        if self.mesh.is_first:
            self.trainee = self.kind.build(self.d_model, generator=torch.Generator())
            self.trainee.load_state_dict(tensors)
        self.mesh = ALONE

    def step(self, x_ND: Float[Tensor, "N D"], *, progress: float) -> None:
        """One update from a batch of raw activations (this rank's share of it) at `progress` of the run.

        Waits for nothing but other ranks.
        """
        x_ND = x_ND.to(self.device, torch.float32) * self.factor
        loss = self._loss(x_ND, progress)
        loss.total.backward()
        sum_gradients(self._named, self.mesh)
        self.trainee.before_step()
        gradient_norm = self._clip()
        self._adam.param_groups[0]["lr"] = self.optimisation.learning_rate(progress)
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)  # other members learn before the next step of this one
        self.trainee.after_step(loss)
        self.trainee.silence.update(loss.fires_F, len(x_ND) if self.mesh.is_alone else loss.target.n)
        self.meter.add(loss, gradient_norm)

    def read(self) -> dict[str, float]:
        """Figures since the last reading, and the share of features that are dead now."""
        figures, dead_F = self.meter.read(), self.trainee.silence.dead(self.kind.dead_after_tokens)
        l0, dead_share = figures["l0"], dead_F.double().mean() / self.mesh.n_feature_ranks
        l0, dead_share = self.mesh.sum_over_features(torch.stack([dead_share.new_tensor(l0), dead_share])).tolist()
        return {**figures, "l0": l0, "dead_share": dead_share}

    def fold(self) -> Dictionary:
        """The neutral dictionary as it is now, on the CPU."""
        return self.trainee.fold(self.scale).to("cpu")

    def state(self) -> tuple[State, dict[str, Any]]:
        """Everything that decides the steps to come, as tensors and as JSON data. Read the figures out before.

        Of several ranks the first gets the tensors of all, as one process would have them, the others none.
        """
        tensors = {f"trainee.{name}": tensor for name, tensor in self.trainee.state_dict().items()}
        for name, parameter in self._named.items():
            tensors |= {f"adam.{name}.{key}": value for key, value in self._adam.state[parameter].items()}
        tensors["generator"] = self.generator.get_state()
        data = {"scale": to_json(self.scale), "least_sane": self.least_sane}
        return gathered(tensors, self.mesh), data

    def restore(self, tensors: State, data: dict[str, Any]) -> None:
        """Go back to what `state` gave (this rank's rows of it), bit for bit, in the tensors that are there."""
        scale = data["scale"]
        self._take_scale(from_json(BlockScale, scale) if isinstance(scale, dict) else float(scale))
        self.least_sane = data["least_sane"]
        trainee = {name.removeprefix("trainee."): t for name, t in tensors.items() if name.startswith("trainee.")}
        self.trainee.load_state_dict(trainee)
        for name, parameter in self._named.items():
            keys = ("step", "exp_avg", "exp_avg_sq")
            saved = {key: tensors[f"adam.{name}.{key}"].clone() for key in keys if f"adam.{name}.{key}" in tensors}
            self._adam.state[parameter] = {
                key: value if key == "step" else torch.empty_like(parameter).copy_(value)
                for key, value in saved.items()
            }
        self.generator.set_state(tensors["generator"])

    def divergence(self, step: int) -> str | None:
        """What went wrong since the last reading and what to change, or None; `step` is the number of steps so far.

        To be asked before `read`. A run diverges when a loss or a gradient is not finite, or when reconstructions are
        `FAR` times worse than the mean vector and than the first ones.
        """
        if self.least_sane is None:
            self.least_sane = FAR * max(1.0, self.meter.first_error_share())
        before, what = self.meter.first_bad_step(), "loss or gradient not finite"
        if before is None:
            before, what = self.meter.first_step_above(self.least_sane), f"error {FAR:g} times that of the start"
        if before is None:
            return None
        number, now = step - self.meter.n_steps + before + 1, self.optimisation
        return (
            f"training diverged at step {number} ({what}): lower lr (now {now.lr:g}), lengthen warm_up (now "
            f"{now.warm_up:g} of the run) or set a shorter clip_norm (now {now.clip_norm:g}), and choose another --out"
        )

    def _take_scale(self, scale: Scale) -> None:
        self.scale = scale
        self.factor = self._factor(self.device)

    def _factor(self, device: str | torch.device) -> float | Tensor:
        """What raw activations are multiplied by: one number, or one for each column."""
        return self.scale.row().float().to(device) if isinstance(self.scale, BlockScale) else self.scale

    def _take_parameters(self) -> None:
        self._named, how = dict(self.trainee.named_parameters()), self.optimisation
        self._adam = torch.optim.Adam(list(self._named.values()), lr=how.lr, betas=how.betas, eps=how.eps, fused=True)

    def _loss(self, x_ND: Tensor, progress: float) -> Loss:
        if self.mesh.is_alone:
            return self.trainee.loss(x_ND, progress=progress)
        return whole_loss(self.kind)(self.trainee, x_ND, progress=progress, mesh=self.mesh)

    def _clip(self) -> Tensor:
        """The gradient's length before it was cut to `clip_norm`."""
        limit, parameters = self.optimisation.clip_norm, list(self._named.values())
        length = total_norm(self._named, self.mesh)
        if limit > 0 and (
            self.device != "cpu" or not bool(length <= limit)
        ):  # on a CPU, a pass saved where none is due
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, length)
        return length
