#!/usr/bin/env bash
# One training on two "machines": two network namespaces joined by a cable, gloo between them, one shared folder.
#
#   tests/scale/two_machines.sh OUT      (root, Linux with `ip netns`; else it says why it stops, exit code 77)
#
# A run on one process comes first; its base, data set and warm-up are what both machines start from. Then `accelerate
# launch` runs on each machine with its rank, and the adapters of both trainings are compared. The Hub is one that both
# machines reach: the embedded one in the first namespace, which a relay over the cable shows on the loopback of the second.
set -euo pipefail
out=$(realpath -m "${1:?usage: two_machines.sh OUT}")
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python}
export PYTHONPATH="$root" OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1
skip() { echo "skipped: $1" >&2; exit 77; }
[ "$(id -u)" = 0 ] || skip "not root: network namespaces cannot be made"
command -v ip >/dev/null || skip "no ip command (apt-get install iproute2)"
one=rl2f-one-$$ two=rl2f-two-$$
ip netns add "$one" 2>/dev/null || skip "ip netns add is refused here"
started=()
cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  ip netns del "$one" 2>/dev/null || true
  ip netns del "$two" 2>/dev/null || true
}
trap cleanup EXIT
ip netns add "$two"
ip link add "va$$" netns "$one" type veth peer name "vb$$" netns "$two" || skip "no veth devices here"
ip -n "$one" addr add 10.77.0.1/24 dev "va$$"; ip -n "$two" addr add 10.77.0.2/24 dev "vb$$"
for name in "$one" "$two"; do ip -n "$name" link set lo up; done
ip -n "$one" link set "va$$" up; ip -n "$two" link set "vb$$" up

mkdir -p "$out"
ip netns exec "$one" "$python" -m rl2f_hub hub serve --root "$out/hub" --port 7788 >"$out/hub.log" 2>&1 & started+=($!)
ip netns exec "$one" "$python" "$root/tests/scale/relay.py" 10.77.0.1:7789 127.0.0.1:7788 & started+=($!)
ip netns exec "$two" "$python" "$root/tests/scale/relay.py" 127.0.0.1:7788 10.77.0.1:7789 & started+=($!)
"$python" -m rl2f_hub hub user add worker --root "$out/hub" >"$out/user.txt"
export HF_TOKEN=$(grep -o 'hf_[A-Za-z0-9]*' "$out/user.txt" | head -1) HF_HOME="$out/cache" HF_ENDPOINT=http://127.0.0.1:7788
mapfile -t sets < <("$python" "$root/tests/scale/settings.py")

ip netns exec "$one" "$python" -m rl2f_hub run quickstart --out "$out/alone" --only base,generate,publish,warmup,train "${sets[@]}"
"$python" - "$out" <<'PY'
import json, pathlib, shutil, sys
out = pathlib.Path(sys.argv[1])
shutil.copytree(out / "alone", out / "pair", ignore=lambda folder, names: {"train"} & set(names) if folder.endswith("alone") else set())
file = out / "pair" / "manifest.json"
manifest = json.loads(file.read_text())
del manifest["stages"]["train"]
file.write_text(json.dumps(manifest))
PY
pids=()
for machine in 0 1; do
  name=$one cable=va$$; [ $machine = 0 ] || { name=$two cable=vb$$; }
  GLOO_SOCKET_IFNAME=$cable ip netns exec "$name" "$python" -m accelerate.commands.launch \
    --config_file "$root/recipes/accelerate/multi-node.yaml" --machine_rank $machine --main_process_ip 10.77.0.1 \
    -m rl2f_hub train quickstart --out "$out/pair" "${sets[@]}" >"$out/machine-$machine.log" 2>&1 &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || { tail -20 "$out"/machine-*.log >&2; exit 1; }; done
"$python" - "$out" <<'PY'
import pathlib, sys
from safetensors.torch import load_file
out = pathlib.Path(sys.argv[1])
one, two = (load_file(str(out / r / "train" / "rl2f" / "adapter" / "adapter_model.safetensors")) for r in ("alone", "pair"))
gap = max(float((one[k] - two[k]).abs().max()) for k in one)
print(f"largest difference between the adapters of one process and of two machines: {gap:.2e}")
sys.exit(gap > 2e-4)
PY
