"""The bill's `line_item` texts, taken apart. Pure; what does not parse has no model and never fails."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# The spellings of directions, by the `token_type` they mean.
_DIRECTIONS: Final = {
    "input": "input",
    "input_tokens": "input",
    "cached input": "input_cached",
    "cache writes": "input_cache_write",
    "output": "output",
    "output_tokens": "output",
}
# No line of batch or scale was ever seen. They are here lest one counts as default when it comes.
_TIERS: Final = frozenset({"priority", "flex", "batch", "scale"})
_DEFAULT_TIER: Final = "default"
_MODEL_LINE: Final = re.compile(
    r"(?:(?P<prefix>[^|]+?) \| )?(?P<model>[^\s,|]+)(?: (?P<modality>text|audio|image))?"
    rf", (?P<direction>{'|'.join(_DIRECTIONS)})(?P<long_context>, long context)?"
)


@dataclass(frozen=True, slots=True)
class LineItem:
    """A line item's parts; all empty for one that names no model.

    Attributes:
        model: as the bill spells it.
        token_type: as in the metric contract: input, input_cached, input_cache_write or output.
        modality: text, audio, image, or empty where the line does not say.
        prefix: a service tier (`priority`, `flex`) or a surface (`evals`).
        long_context: whether the long-context price applied.
    """

    model: str = ""
    token_type: str = ""
    modality: str = ""
    prefix: str = ""
    long_context: bool = False

    @property
    def service_tier(self) -> str:
        """The tier that was paid for, `default` where the line names none; empty for one that names no model.

        A surface is no tier: its calls were of the default one.
        """
        if not self.model:
            return ""
        return self.prefix if self.prefix in _TIERS else _DEFAULT_TIER


@lru_cache(maxsize=10_000)
def parse_line_item(text: str) -> LineItem:
    """Take `[<prefix> | ]<model>[ <modality>], <direction>[, long context]` apart."""
    match = _MODEL_LINE.fullmatch(text)
    if match is None:
        return LineItem()
    return LineItem(
        model=match["model"],
        token_type=_DIRECTIONS[match["direction"]],
        modality=match["modality"] or "",
        prefix=match["prefix"] or "",
        long_context=match["long_context"] is not None,
    )
