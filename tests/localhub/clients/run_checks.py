"""Run every check_* function of a file, in order; write {name: "" or traceback} as JSON.

Usage: run_checks.py FILE RESULTS
"""

import json
import runpy
import sys
import traceback

namespace = runpy.run_path(sys.argv[1])
results = {}
for name, check in namespace.items():
    if name.startswith("check_"):
        try:
            check()
            results[name] = ""
        except BaseException:
            results[name] = traceback.format_exc()
with open(sys.argv[2], "w") as file:
    json.dump(results, file)
