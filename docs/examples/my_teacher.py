"""A teacher of your own: says whether a whole number is too high or too low. `teacher.kind: "python:my_teacher.py:HighLow"`.

rl2f run quickstart --set teacher.kind=python:docs/examples/my_teacher.py:HighLow --allow-local-code
"""

from collections.abc import Sequence

from rl2f_hub.teachers import FeedbackRequest, Reply, Teacher


class HighLow(Teacher):
    name = "high_low"

    def feedback(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        return [self._one(request) for request in requests]

    def _one(self, request: FeedbackRequest) -> Reply | None:
        answer, reference = request.verdict.answer, request.privilege.reference
        if answer is None:
            return Reply("Give one whole number.", "format")
        return Reply("Too high." if int(answer) > int(reference) else "Too low.", "size")


def only_wrong(request: FeedbackRequest) -> str:
    """A function is a teacher too: `teacher.kind: "python:my_teacher.py:only_wrong"`."""
    return f"{request.verdict.answer} is wrong."
