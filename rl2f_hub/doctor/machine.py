"""Checks of the machine: libraries, device, number formats, 4-bit layers, the Hub's token, disk, sandbox."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from rl2f_hub.doctor import Asked, Check, Report, Status
from rl2f_hub.recipe import Recipe

GIB = 2**30
LEAST_DISK = 2 * GIB  # below this a run is likely to end in the middle of a file
TRACKERS = {"trackio": "trackio", "tensorboard": "tensorboard"}  # report_to -> package


def versions(recipe: Recipe | None, asked: Asked, report: Report) -> list[Check]:
    """Every library that training needs, against the bounds of the package itself."""
    from packaging.requirements import Requirement

    wanted: dict[str, Requirement] = {}
    for line in requires("rl2f-hub") or []:
        needed = Requirement(line)
        extras = ("", "train", *(("qlora",) if recipe and recipe.model.quantization == "nf4" else ()))
        if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
            wanted.setdefault(needed.name.lower(), needed)
    wanted.pop("rl2f-hub", None)
    out, shown = [], []
    for name, needed in sorted(wanted.items()):
        try:
            found = version(name)
        except PackageNotFoundError:
            out.append(Check("versions", "fail", f"{name} is not installed", 'pip install "rl2f-hub[qlora]"'))
            continue
        if not needed.specifier.contains(found, prereleases=True):
            out.append(Check("versions", "fail", f"{name} {found}", f'pip install "{name}{needed.specifier}"'))
        elif name in (
            "torch",
            "transformers",
            "trl",
            "peft",
            "accelerate",
            "datasets",
            "huggingface-hub",
            "bitsandbytes",
        ):
            shown.append(f"{name} {found}")
    return [*out, Check("versions", "ok", ", ".join(shown))] if shown else out


def device(recipe: Recipe | None, asked: Asked, report: Report) -> list[Check]:
    import torch

    from rl2f_hub.runs import hardware

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found = f"{torch.cuda.get_device_name(0)}, {free / GIB:.1f} of {total / GIB:.1f} GiB free"
        busy = free < 0.9 * total
        return [Check("device", "warn" if busy else "ok", found, "another program holds memory there" if busy else "")]
    here = hardware()
    found = f"no GPU; {here['cores']} CPU cores ({here['cpu']}), {here['memory_gib']} GiB"
    if asked.gpu_gib is not None:
        return [Check("device", "ok", f"{found}; judged for a GPU of {asked.gpu_gib:g} GiB instead (--gpu-gib)")]
    big = recipe is not None and (recipe.model.dtype == "bfloat16" or recipe.model.id is not None)
    fix = (
        "a real model on a CPU takes days: rent a GPU (`rl2f jobs run`) or judge for one with --gpu-gib" if big else ""
    )
    return [Check("device", "warn" if big else "ok", found, fix)]


def bf16(recipe: Recipe | None, asked: Asked, report: Report) -> list[Check]:
    import torch

    if asked.gpu_gib is not None:
        return [Check("bf16", "ok", "not looked at: the GPU is not here; Ampere and later have it")]
    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported():
            return [Check("bf16", "ok", "the GPU has it")]
        wants = recipe is not None and recipe.model.dtype == "bfloat16"
        fix = "set model.dtype=float32, or take a card of the Ampere generation or later"
        return [Check("bf16", "fail" if wants else "warn", "the GPU has no bfloat16", fix)]
    one = torch.ones(2, 2, dtype=torch.bfloat16)
    return [
        Check("bf16", "ok", f"the CPU multiplies it ({float((one @ one)[0, 0]):g} = 1*1 + 1*1); training is in float32")
    ]


def four_bit(recipe: Recipe | None, asked: Asked, report: Report) -> list[Check]:
    """Quantises a small matrix and takes it back, on the device that would be used."""
    wants = recipe is not None and recipe.model.quantization == "nf4"
    try:
        import bitsandbytes
        import torch
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        where = "cuda" if torch.cuda.is_available() else "cpu"
        matrix = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).to(where)
        packed, state = quantize_4bit(matrix, quant_type="nf4", compress_statistics=True)
        error = float((dequantize_4bit(packed, state) - matrix).abs().mean() / matrix.abs().mean())
    except Exception as problem:  # an import error, a missing CUDA library, a backend that does not know the device
        text = f"{type(problem).__name__}: {' '.join(str(problem).split())[:120]}"
        fix = 'pip install "rl2f-hub[qlora]" for this CUDA version, or set model.quantization=none'
        return [Check("bitsandbytes", "fail" if wants else "warn", f"no working 4-bit layers ({text})", fix)]
    found = f"bitsandbytes {bitsandbytes.__version__}: NF4 on {where}, mean error {error:.0%}"
    good = error < 0.2
    return [Check("bitsandbytes", "ok" if good else "fail", found, "" if good else "reinstall bitsandbytes")]


def hub_token(recipe: Recipe | None, asked: Asked, report: Report) -> list[Check]:
    """That the token is known and may write to the namespace; the token itself is never shown."""
    if recipe is not None and recipe.hub.endpoint == "local":
        return [Check("hub", "ok", "the embedded Hub: no token needed")]
    from huggingface_hub import HfApi, get_token

    if recipe is None and get_token() is None:
        return [Check("hub", "warn", "no token", "run `hf auth login` or set HF_TOKEN before a run that pushes")]
    from rl2f_hub.hub.errors import hub_errors

    namespace = recipe.hub.namespace if recipe else None
    with hub_errors(namespace or "(your namespace)"):
        who = HfApi().whoami()
    allowed = [who["name"], *(org["name"] for org in who.get("orgs", []))]
    role = (who.get("auth") or {}).get("accessToken", {}).get("role")
    if namespace is not None and namespace not in allowed:
        fix = f"set hub.namespace to one of {', '.join(allowed)}"
        return [Check("hub", "fail", f"hub.namespace {namespace!r} is not open to this token", fix)]
    if role == "read":
        fix = "make a token with the role write on the Hub's settings page, then `hf auth login`"
        return [Check("hub", "fail", f"{who['name']}: the token may only read", fix)]
    if role == "fineGrained":
        fix = f"check on the Hub's settings page that it may write to repositories of {namespace or who['name']}"
        return [Check("hub", "warn", f"{who['name']}: a fine-grained token, whose rights are not looked at", fix)]
    return [Check("hub", "ok", f"{who['name']} may write to {namespace or who['name']}")]


def disk(recipe: Recipe | None, asked: Asked, report: Report) -> list[Check]:
    """Free space where the run is written and where the Hub's files are cached."""
    cache = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    out = []
    for what, folder in (("run folder", asked.out), ("Hub cache", cache)):
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(there).free
        status: Status = "fail" if free < LEAST_DISK else "ok"
        if status == "ok" and not os.access(there, os.W_OK):
            out.append(Check("disk", "fail", f"{what} {folder}: {there} cannot be written", "choose another --out"))
            continue
        fix = f"free {LEAST_DISK / GIB:g} GiB or more, or choose another --out or HF_HOME" if status == "fail" else ""
        out.append(Check("disk", status, f"{what} {folder}: {free / GIB:.1f} GiB free", fix))
    return out


def tracker(recipe: Recipe | None, asked: Asked, report: Report) -> list[Check]:
    """The package of every tracker that the recipe reports to."""
    from importlib.util import find_spec

    named: Any = (recipe.train.grpo.get("report_to") or []) if recipe else []
    named = [named] if isinstance(named, str) else list(named)
    missing = [name for name in named if name in TRACKERS and find_spec(TRACKERS[name]) is None]
    return [
        Check("tracker", "fail", f"train.grpo.report_to: {name} is not installed", f"pip install {TRACKERS[name]}")
        for name in missing
    ]


CHECKS = [
    ("versions", versions),
    ("device", device),
    ("bf16", bf16),
    ("bitsandbytes", four_bit),
    ("hub", hub_token),
    ("disk", disk),
    ("tracker", tracker),
]
