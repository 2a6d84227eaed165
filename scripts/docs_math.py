"""A hook of mkdocs: equations become MathML, which browsers draw without any script."""

import re
from typing import Any

from latex2mathml.converter import convert

BLOCK = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn ```math blocks into MathML."""
    return BLOCK.sub(lambda found: convert(found[1].strip(), display="block"), markdown)
