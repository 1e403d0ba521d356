#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""summary.py FOLDER PART...

Add up the JUnit results FOLDER/PART.xml, name what failed, and end with the
line "N passed, N failed, N skipped". A part without results counts as one
failure. Exits with 0 only when something passed and nothing failed.
"""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def outcome(case):
    """'failed', 'skipped' or 'passed', for a <testcase> element."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.find("skipped") is not None:
        return "skipped"
    return "passed"


def main(folder, *parts):
    total = {"passed": 0, "failed": 0, "skipped": 0}
    problems = []
    for part in parts:
        try:
            cases = list(ElementTree.parse(
                pathlib.Path(folder, part + ".xml")).iter("testcase"))
        except (OSError, ElementTree.ParseError) as error:
            problems.append(f"{part}: no results ({error})")
            cases = []
        else:
            if not cases:
                problems.append(f"{part}: not a single test was run")
        if not cases:
            total["failed"] += 1
        for case in cases:
            result = outcome(case)
            total[result] += 1
            if result == "failed":
                name = case.get("classname", ""), case.get("name", "")
                problems.append(f"{part}: {' '.join(filter(None, name))}")
    for problem in problems:
        print("FAILED", problem)
    print(", ".join(f"{count} {what}" for what, count in total.items()))
    return 0 if total["passed"] and not total["failed"] else 1


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    sys.exit(main(*sys.argv[1:]))
