"""What captions say of the character, and what they say without."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .errors import TrainingError


def without_trigger(captions: Sequence[str], trigger: str, class_noun: str) -> list[str]:
    """The captions with the class noun in the trigger's place, or nothing where that is empty.

    The trigger is found as a whole word or phrase, in capitals or not. Raises TrainingError where a caption lacks it.
    """
    pattern = re.compile(rf"(?<!\w){re.escape(trigger.strip())}(?!\w)", re.IGNORECASE)
    lacking = [caption for caption in captions if not pattern.search(caption)]
    if lacking:
        raise TrainingError(
            f"prior preservation needs the trigger {trigger!r} in every caption; {len(lacking)} of {len(captions)} "
            f"lack it, the first is {lacking[0]!r}. Add it there, correct the trigger, or set prior_loss_weight to 0."
        )
    return [_tidy(pattern.sub(lambda _: class_noun, caption)) for caption in captions]


def _tidy(caption: str) -> str:
    """Without the spaces and commas that a removed word leaves."""
    parts = (" ".join(part.split()) for part in caption.split(","))
    return ", ".join(part for part in parts if part)
