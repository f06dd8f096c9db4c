"""Answers on disk: nothing is asked twice, nothing is lost, another judge has its own, damage is named."""

from collections.abc import Sequence

import pytest

from bathyscope.errors import ArtifactError, ModelError
from bathyscope.models.writers.remembered import Remembered
from bathyscope.models.writers.writer import Answer, Question, Verdict


class Counting:
    """Answers with the prompt in capitals and chooses the first; goes away after `left` questions."""

    materials = ()
    fills = True

    def __init__(self, *, left: int = 1000, name: str = "one") -> None:
        self.left, self.batches, self.identity = left, list[int](), {"name": name}

    def _count(self, n: int) -> None:
        if n > self.left:
            raise ModelError("gone")
        self.left -= n
        self.batches.append(n)

    def write(self, prompts: Sequence[str]) -> list[Answer]:
        self._count(len(prompts))
        return [Answer(prompt.upper(), True, 5, 2) for prompt in prompts]

    def choose(self, questions: Sequence[Question]) -> list[Verdict]:
        self._count(len(questions))
        return [Verdict(p=((0.75, 0.125),), n_read=9) if "?" in q.prompt else Verdict(p=None) for q in questions]


def asked(prompt: str) -> Question:
    return Question(prompt=prompt, choices=("Y", "N"))


def test_equal_prompts_are_asked_once_and_counted(tmp_path):
    one = Remembered(Counting(), tmp_path / "a.jsonl", batch_size=2)
    assert [answer.text for answer in one.write(["a", "b", "a", "c"])] == ["A", "B", "A", "C"]
    assert one.judge.batches == [2, 1]
    assert (one.cost.n_asked, one.cost.n_remembered, one.cost.n_read, one.cost.n_written) == (3, 1, 15, 6)


def test_what_lies_on_disk_is_not_asked_again_and_comes_back_the_same(tmp_path):
    first = Remembered(Counting(), tmp_path / "a.jsonl")
    said = (first.write(["a"]), first.choose([asked("ship?"), asked("nonsense")]))
    again = Remembered(Counting(left=0), tmp_path / "a.jsonl")
    assert (again.write(["a"]), again.choose([asked("ship?"), asked("nonsense")])) == said
    assert again.cost.n_asked == 0 and again.cost.n_remembered == 3
    assert first.cost.n_unanswered == again.cost.n_unanswered == 1


def test_a_prompt_and_a_question_of_the_same_words_are_two(tmp_path):
    one = Remembered(Counting(), tmp_path / "a.jsonl")
    one.write(["ship?"])
    assert one.choose([asked("ship?")])[0].p == ((0.75, 0.125),)


def test_another_judge_is_asked_anew(tmp_path):
    Remembered(Counting(), tmp_path / "a.jsonl").write(["a"])
    other = Remembered(Counting(name="two"), tmp_path / "a.jsonl")
    other.write(["a"])
    assert other.cost.n_asked == 1


def test_answers_before_a_failure_are_kept(tmp_path):
    with pytest.raises(ModelError, match="gone"):
        Remembered(Counting(left=4), tmp_path / "a.jsonl", batch_size=2).write(list("abcdef"))
    rest = Remembered(Counting(), tmp_path / "a.jsonl", batch_size=2)
    assert [answer.text for answer in rest.write(list("abcdef"))] == list("ABCDEF")
    assert rest.cost.n_asked == 2


def test_a_line_that_was_cut_off_is_dropped_and_asked_again(tmp_path):
    file = tmp_path / "a.jsonl"
    Remembered(Counting(), file).write(["a", "b"])
    file.write_bytes(file.read_bytes()[:-9])
    again = Remembered(Counting(), file)
    assert [answer.text for answer in again.write(["a", "b"])] == ["A", "B"]
    assert again.cost.n_asked == 1 and len(file.read_bytes().splitlines()) == 2


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text("not json\n")
    with pytest.raises(ArtifactError, match=r"a\.jsonl is damaged .* delete it to ask again"):
        Remembered(Counting(), tmp_path / "a.jsonl")
