"""Runs where lm-eval is installed: log-likelihoods through its local-completions model. Prints one JSON object.

python client_lm_eval.py URL MODEL CLAUSES FOLDER
"""

import json
import sys
from pathlib import Path

from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI


def main(url: str, model: str, _: str, folder: str) -> None:
    """The log-likelihood of every continuation of `pairs.json`, and whether it is the greedy one."""
    pairs = json.loads(Path(folder, "pairs.json").read_text())
    harness = LocalCompletionsAPI(
        base_url=f"{url}/completions",
        model=model,
        tokenizer=str(Path(folder, "tokenizer")),
        tokenizer_backend="huggingface",
        batch_size=4,
    )
    asked = [
        Instance(request_type="loglikelihood", doc={}, arguments=tuple(pair), idx=number)
        for number, pair in enumerate(pairs)
    ]
    found = harness.loglikelihood(asked)
    print(json.dumps({"log_p": [log_p for log_p, _ in found], "is_greedy": [greedy for _, greedy in found]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
