"""Text to the token ids that a model is given: plain text with the tokenizer's own rule for BOS, or a chat template.

Each function returns ids that artifacts store as they are; text is never tokenised again from decoded tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.model import Model


def has_chat_template(model: Model) -> bool:
    """Whether the tokenizer brings a chat template (instruction-tuned models do)."""
    return model.tokenizer.chat_template is not None


def text_tokens(model: Model, text: str) -> list[int]:
    """Token ids of `text` to be continued, with BOS where the tokenizer puts one; an empty text is BOS alone."""
    ids: Any = model.tokenizer(text)["input_ids"]
    tokens = [int(token) for token in ids]
    if not tokens and isinstance(model.tokenizer.bos_token_id, int):
        tokens = [model.tokenizer.bos_token_id]
    if not tokens:
        raise ConfigError(f"an empty prompt gives no tokens with the tokenizer of {model.name}; give it some text")
    return tokens


def text_beginning(model: Model) -> list[int]:
    """What stands before a text of its own: BOS, or a line break where the tokenizer has none."""
    return text_tokens(model, "" if isinstance(model.tokenizer.bos_token_id, int) else "\n")


def chat_tokens(model: Model, messages: Sequence[Mapping[str, str]], *, answer: bool = True) -> list[int]:
    """Token ids of `messages` ({"role": "user", "content": …}, …) in the model's chat template.

    With `answer` they end where the assistant's answer begins. Raises ModelError when there is no template or it
    refuses the messages (some know no system role).
    """
    if not has_chat_template(model):
        raise ModelError(f"the tokenizer of {model.name} has no chat template; pass chat=False to continue plain text")
    conversation: list[dict[str, Any]] = [dict(message) for message in messages]
    try:
        ids: Any = model.tokenizer.apply_chat_template(
            conversation, add_generation_prompt=answer, tokenize=True, return_dict=False
        )
    except Exception as error:  # jinja2 raises whatever the template's author chose
        raise ModelError(f"the chat template of {model.name} refuses these messages: {error}") from error
    return [int(token) for token in ids]


def prompt_tokens(model: Model, prompt: str, *, chat: bool | None = None, system: str | None = None) -> list[int]:
    """Token ids of one prompt: a user's message with `chat`, else text to continue.

    `chat=None` means chat exactly when the tokenizer has a chat template; `system` is a message put before the user's.
    """
    if chat is None:
        chat = has_chat_template(model)
    if not chat:
        if system is not None:
            raise ConfigError("a system message needs chat=True and a model with a chat template")
        return text_tokens(model, prompt)
    head = [] if system is None else [{"role": "system", "content": system}]
    return chat_tokens(model, [*head, {"role": "user", "content": prompt}])


def special_tokens(model: Model) -> frozenset[int]:
    """Tokens that are marks rather than text: begin, end, padding, chat marks, and every other one flagged special.

    `tokenizer.all_special_ids` alone holds only those that have a role such as `bos_token`.
    """
    added: Any = model.tokenizer.added_tokens_decoder
    flagged = (int(token) for token, entry in added.items() if entry.special)
    return frozenset((*flagged, *(int(token) for token in model.tokenizer.all_special_ids)))


def stop_tokens(model: Model) -> frozenset[int]:
    """Tokens that end an answer: the end tokens of network and tokenizer, and what closes a turn of the template."""
    ends: Any = model.network.generation_config.eos_token_id
    found: set[int] = {ends} if isinstance(ends, int) else set(ends or ())
    if isinstance(model.tokenizer.eos_token_id, int):
        found.add(model.tokenizer.eos_token_id)
    if has_chat_template(model):
        turn = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        special = special_tokens(model)
        closing = [token for token in chat_tokens(model, turn, answer=False) if token in special]
        found.update(closing[-1:])
    return frozenset(int(token) for token in found)
