"""Dictionaries of a world's final activations, for the estimators that shuffle codes: trained, of shifts, and random.

They learn from other inputs than those that the estimators read; what that costs is not in the estimators' ledger.
"""

from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.shifts.learn import learn_shifts
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.models.hooks import run
from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.risk.estimators.splitting import redrawn
from bathyscope.risk.head import read_head
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.worlds.truth import read_truth

N_INPUTS = 16_384
"""Inputs that each dictionary learns from, drawn apart from those of the estimators."""
N_FEATURES, K, N_SHIFTS = 128, 8, 24
PASSES, BATCH = 8, 1024
SEED = 0x0B5E


def world_dictionaries(model: Path, truth: Path, *, out: Path) -> dict[str, Path]:
    """Name → folder of each dictionary, made in `out` where it is missing."""
    folders = _folders(out)
    if all(folder.exists() for folder in folders.values()):
        return folders
    return law_dictionaries(load_model(model), read_truth(truth)[1], out=out)


def law_dictionaries(
    model: Model, law: ProductTokens, *, out: Path, n_inputs: int = N_INPUTS, seed: int = 0
) -> dict[str, Path]:
    """The same from a model and a law at hand; learns from `n_inputs` inputs. `seed` is of inputs and start weights."""
    folders = _folders(out)
    generator = torch.Generator().manual_seed(SEED + seed)
    rows_NC = draw(law, n_inputs, generator=generator)
    x_ND = final_activations(model, law, rows_NC)
    batches = [
        batch_BD
        for _ in range(PASSES)
        for batch_BD in x_ND[torch.randperm(len(x_ND), generator=generator)].split(BATCH)
    ]
    trained = train(
        batches, TopK(n_features=N_FEATURES, k=K), out=folders["trained"], settings=TrainSettings(seed=seed)
    )
    random_dictionary(trained, x_ND, k=K, seed=seed).save(folders["random"])
    changed_ND = final_activations(model, law, redrawn(law, rows_NC, generator))
    shifts_ND = changed_ND - x_ND
    shifts_PD = shifts_ND[shifts_ND.norm(dim=1) > 1e-3]
    learn_shifts(shifts_PD, ShiftSettings(n_features=N_SHIFTS, n_restarts=2, seed=seed), out=folders["shifts"])
    return folders


def _folders(out: Path) -> dict[str, Path]:
    return {name: out / name for name in ("trained", "random", "shifts")}


def final_activations(model: Model, law: ProductTokens, rows_NC: Int[Tensor, "N C"]) -> Float[Tensor, "N D"]:
    """Output of the final norm at the last position, float32."""
    place = read_head(model).hookpoint
    parts = [run(model, law.inputs(model, part_BC), place)[place][:, -1] for part_BC in rows_NC.split(BATCH)]
    return torch.cat(parts).float().cpu()
