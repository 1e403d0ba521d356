#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""run.py [--deadline=SECONDS] [--seed=N] RESULTS.xml COMMAND...

Run GLib test programs, several at a time; show what failed and write the
results as JUnit XML. A program that ends badly, runs longer than its deadline
or tests nothing is a failure of its own. Each COMMAND is one argument, a path
that may be followed by options. --seed=0 is another seed for each run.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

TAP = re.compile(r"^(not ok|ok) \d+ (\S+)(?: # SKIP ?(.*))?", re.MULTILINE)

# The sanitizers see neither GLib's own allocator nor who passes memory on in it.
ENVIRONMENT = {**os.environ, "G_SLICE": "always-malloc"}


def run(command, deadline, seed):
    """The name, results, output and seconds of one program. A result is
    (test, what went wrong or None, why it was skipped or None)."""
    program, *options = shlex.split(command)
    if seed:
        options.append(f"--seed=R02S{seed:032x}")
    start = time.monotonic()
    problem = None
    try:
        done = subprocess.run(
            [program, "--tap", "-k", *options], stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            errors="replace", timeout=deadline, check=False, env=ENVIRONMENT)
        output = done.stdout
        if done.returncode:
            problem = f"the program ended with {done.returncode}"
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace")
        problem = f"the program was still running after {deadline} s"
    except OSError as error:
        output, problem = "", str(error)

    results = [(name, "failed" if word == "not ok" else None, skip or None)
               for word, name, skip in TAP.findall(output)]
    if not results and not problem:
        problem = "the program ran no test"
    if problem and not any(failed for _, failed, _ in results):
        results.append(("/program", problem, None))
    # build/core/VARIANT/test-NAME, or tests/unit/test-NAME in QEMU's folder
    name = ".".join(pathlib.Path(program).parts[-2:])
    return name, results, output, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--deadline", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("commands", nargs="+")
    args = parser.parse_args()

    suites = ElementTree.Element("testsuites")
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, results, output, seconds in pool.map(
                lambda command: run(command, args.deadline, args.seed),
                args.commands):
            suite = ElementTree.SubElement(suites, "testsuite", name=name,
                                           time=f"{seconds:.3f}")
            bad = [result for result in results if result[1]]
            for test, failed, skipped in results:
                case = ElementTree.SubElement(suite, "testcase",
                                              classname=name, name=test)
                if failed:
                    text = ElementTree.SubElement(case, "failure",
                                                  message=failed)
                    text.text = re.sub(r"[^\t\n\x20-\ud7ff]", "?", output)
                elif skipped:
                    ElementTree.SubElement(case, "skipped", message=skipped)
            if bad:
                print(output)
            print(f"{'FAIL' if bad else 'ok':4} {name}: {len(results)} tests, "
                  f"{seconds:.1f} s", flush=True)
            failures += len(bad)
    args.report.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suites).write(args.report, "utf-8", True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
