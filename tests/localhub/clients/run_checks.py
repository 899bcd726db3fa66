"""Run every check_* function of a file, in order; write {name: "" or traceback} as JSON.

Usage: run_checks.py FILE RESULTS
"""

import json
import runpy
import sys
import unittest

namespace = runpy.run_path(sys.argv[1])
results = {}
for name, check in namespace.items():
    if name.startswith("check_"):
        result = unittest.TestResult()
        unittest.FunctionTestCase(check).run(result)
        results[name] = "".join(text for _, text in result.errors + result.failures)
with open(sys.argv[2], "w") as file:
    json.dump(results, file)
