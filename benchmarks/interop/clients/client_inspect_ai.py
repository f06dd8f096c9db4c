"""Runs where Inspect is installed: a task of one sample, plain and steered, through its OpenAI-compatible provider.

python client_inspect_ai.py URL MODEL CLAUSES FOLDER
"""

import json
import os
import sys

from inspect_ai import Task, eval  # noqa: A004  # its own name
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import includes


def main(url: str, model: str, clauses: str, folder: str) -> None:
    """Evaluate twice, and print both answers."""
    os.environ |= {"BATHYSCOPE_BASE_URL": url, "BATHYSCOPE_API_KEY": "none"}
    said: dict[str, str] = {}
    for name, steer in {"plain": [], "steered": json.loads(clauses)}.items():
        config = GenerateConfig(max_tokens=16, temperature=0, extra_body={"steer": steer})
        task = Task(dataset=[Sample(input="Tell me about the sea.", target="sea")], scorer=includes(), config=config)
        (log,) = eval(task, model=f"openai-api/bathyscope/{model}", log_dir=folder, display="none")
        said[name] = log.samples[0].output.completion if log.status == "success" else f"failed: {log.error}"
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
