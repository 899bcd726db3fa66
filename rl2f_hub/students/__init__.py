"""Students: where the policy's weights come from. `scratch` builds a small one, `load` opens existing ones."""

from __future__ import annotations

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)  # of a PEFT adapter; weights in other formats are never read
