"""Runs where openai is installed: plain, steered, streamed and refused chats. Prints one JSON object of answers.

python client_openai.py URL MODEL CLAUSES FOLDER
"""

import json
import sys

import openai


def main(url: str, model: str, clauses: str, _: str) -> None:
    """Ask, and print what came back."""
    client, steer = openai.OpenAI(base_url=url, api_key="none", max_retries=0), json.loads(clauses)
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": "Tell me about the sea."}],
        "max_tokens": 16,
        "temperature": 0,
    }
    plain = client.chat.completions.create(**asked)
    steered = client.chat.completions.create(**asked, extra_body={"steer": steer})
    stream = client.chat.completions.create(**asked, extra_body={"steer": steer}, stream=True)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    try:
        client.chat.completions.create(**asked, extra_body={"steer": [{**steer[0], "strength": 4}]})
        refused = "not refused"
    except openai.BadRequestError as error:
        refused = str(error.param)
    said = {"plain": plain.choices[0].message.content, "steered": steered.choices[0].message.content}
    print(
        json.dumps({**said, "streamed": streamed, "refused": refused, "models": [m.id for m in client.models.list()]})
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
