"""Runs where garak is installed: one probe against the steered model, and the same generator asked directly.

python client_garak.py URL MODEL CLAUSES FOLDER
"""

import json
import os
import subprocess
import sys
from pathlib import Path


def main(url: str, model: str, clauses: str, folder: str) -> None:
    """Run `test.Test`, garak's shortest probe, and count its attempts."""
    extra = {"extra_body": {"steer": json.loads(clauses)}}
    settings = {"openai": {"OpenAICompatible": {"uri": url, "max_tokens": 16, "extra_params": extra, "stop": []}}}
    options = Path(folder, "garak.json")
    options.write_text(json.dumps(settings))
    words = [
        "--target_type",
        "openai.OpenAICompatible",
        "--target_name",
        model,
        "--generator_option_file",
        str(options),
    ]
    report = Path(folder, "garak")
    command = [sys.executable, "-m", "garak", *words, "--probes", "test.Test", "--generations", "1"]
    environment = {**os.environ, "OPENAICOMPATIBLE_API_KEY": "none"}
    subprocess.run([*command, "--report_prefix", str(report)], check=True, env=environment, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in Path(f"{report}.report.jsonl").read_text().splitlines()]
    attempts = [line for line in lines if line.get("entry_type") == "attempt" and line.get("outputs")]
    print(json.dumps({"attempts": len(attempts)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
