"""Whether weights can be packed into 4 bits here, asked before anything is downloaded or computed.

Left out: whether bitsandbytes works on this device, which takes torch to find out; `rl2f doctor` tries it.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from rl2f_hub.errors import UsageError


def check_quantization(kind: str, field: str = "model.quantization") -> None:
    """Refuses 4 bits without bitsandbytes.

    Args:
        kind: `nf4`, or `none`, which needs nothing.
        field: what the user has set, for the message.
    Raises:
        UsageError
    """
    if kind != "none" and importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError(
            f'{field}: {kind} needs bitsandbytes, which is not installed; run `pip install "rl2f-hub[qlora]"` or load '
            "the weights as they are"
        )


def check_quantization_config(config: Any) -> None:
    """The same for a `quantization_config` of transformers; other quantisers than bitsandbytes are left to it.

    Raises:
        UsageError
    """
    if type(config).__name__ == "BitsAndBytesConfig":
        check_quantization("BitsAndBytesConfig", "quantization_config")
