"""What no code of ours may call: pickles, remote code, shells, `eval`, unsafe YAML, unsandboxed templates, archives.

ruff's S rules find most of it and can be silenced line by line; this list can not. Each ban is shown to bite first.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(p for top in ("rl2f_hub", "spaces", "docs") for p in (ROOT / top).rglob("*.py"))
RUNS_MODEL_CODE = ROOT / "rl2f_hub" / "sandbox" / "inside"  # forks of the sandbox: running code is their purpose

UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
ARCHIVES = {"tarfile", "zipfile"}  # members' paths can leave the folder
# Reading is for `runtime/yaml_reader.py`, which bounds the work: `yaml.parse` gives events and builds nothing.
YAML = {"parse", "safe_dump", "YAMLError", "CSafeLoader", "SafeLoader", "CSafeDumper", "SafeDumper", "__with_libyaml__"}
YAML |= {f"{kind}Event" for kind in ("Alias", "DocumentStart", "MappingEnd", "Scalar", "SequenceEnd", "SequenceStart")}
TEMPLATES = {"SandboxedEnvironment", "ImmutableSandboxedEnvironment"}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "commands.getoutput"}


def faults(source: str, may_exec: bool = False) -> list[str]:
    """`line: what` for every banned thing in a source text."""
    found: list[str] = []

    def note(node: ast.AST, what: str) -> None:
        found.append(f"{getattr(node, 'lineno', 0)}: {what}")

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in names:
                if name.partition(".")[0] in UNPICKLING | ARCHIVES:
                    note(node, f"import {name}")
                if isinstance(node, ast.ImportFrom) and name.partition(".")[0] == "yaml":
                    note(node, f"{ast.unparse(node)}: import yaml, so that what is used of it is seen")
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jinja2"):
                for alias in node.names:
                    if alias.name.endswith(("Environment", "Template")) and alias.name not in TEMPLATES:
                        note(node, f"jinja2 {alias.name} without its sandbox")
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name.startswith("yaml.") and name.count(".") == 1 and node.attr not in YAML:
                note(node, f"{name}: YAML is read by read_yaml")
            if name in SHELLS or name.endswith(("unpack_archive", "tempfile.mktemp")):
                note(node, name)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {k.arg: k.value for k in node.keywords if k.arg}
            if called in ("eval", "exec") and not may_exec:
                note(node, called)
            if called.endswith("torch.load") and not _is(given.get("weights_only"), True):
                note(node, "torch.load without weights_only=True")
            if called in ("jinja2.Environment", "jinja2.Template"):
                note(node, f"{called} without its sandbox")
            if _is(given.get("allow_pickle"), True) or _is(given.get("shell"), True):
                note(node, f"{called} with allow_pickle or a shell")
            if "trust_remote_code" in given and not _is(given["trust_remote_code"], False):
                note(node, f"{called} trusts remote code")
            if called.endswith("AutoModelForCausalLM.from_pretrained") and not _safe_weights(given):
                note(node, f"{called} without use_safetensors=True")
    return found


def _is(node: ast.AST | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _safe_weights(given: dict[str, ast.expr]) -> bool:
    return _is(given.get("use_safetensors"), True) or "gguf_file" in given  # GGUF is data too


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_banned_is_called(file: Path) -> None:
    assert faults(file.read_text(encoding="utf-8"), RUNS_MODEL_CODE in file.parents) == []


BAD = [
    "import pickle",
    "from dill import loads",
    "import tarfile",
    "yaml.load(text)",
    "yaml.unsafe_load(text)",
    "yaml.safe_load(text)",  # a few lines cost it minutes
    "yaml.parse(text, Loader=yaml.Loader)",
    "from yaml import load",
    "eval(text)",
    "exec(text)",
    "os.system('ls')",
    "subprocess.run('ls', shell=True)",
    "torch.load(path)",
    "torch.load(path, weights_only=False)",
    "np.load(path, allow_pickle=True)",
    "AutoTokenizer.from_pretrained(name, trust_remote_code=True)",
    "AutoTokenizer.from_pretrained(name, trust_remote_code=flag)",
    "AutoModelForCausalLM.from_pretrained(name)",
    "from jinja2 import Environment",
    "jinja2.Template(text)",
    "shutil.unpack_archive(path)",
]


@pytest.mark.parametrize("source", BAD)
def test_each_ban_bites(source: str) -> None:
    assert faults(source)


def test_plain_code_passes() -> None:
    good = (
        "import yaml\nyaml.parse(t, Loader=yaml.SafeLoader)\nsubprocess.run(['ls'])\nmodel.eval()\n"
        "torch.load(p, weights_only=True)"
    )
    assert faults(good) == []
