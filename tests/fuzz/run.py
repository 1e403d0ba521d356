#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""run.py [--seconds=N] [--jobs=N] [--seed=N] FOLDER RESULTS.xml PROGRAM...

Run fuzz targets, --jobs at a time and each for --seconds, and write the
results as JUnit XML. FOLDER/NAME holds for each target its seeds, its corpus,
which grows from run to run, and the inputs that it has found to fail; these
are tried first the next time. A target that runs no input is a failure, too.
--seed=0 is another seed for each run.
"""

import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

# For one input; the largest take milliseconds.
INPUT_SECONDS = 10
# For what comes before and after the fuzzing.
GRACE_SECONDS = 120
MEMORY_MB = 1024
MAX_BYTES = 16384

RUNS = re.compile(r"^stat::number_of_executed_units: *(\d+)", re.MULTILINE)
FOUND = re.compile(r"Test unit written to (\S+)")


def fuzz(program, folder, seconds, seed):
    """What went wrong or None, the output and the number of runs."""
    seeds, corpus, found = (folder / name
                            for name in ("seeds", "corpus", "found"))
    shutil.rmtree(seeds, ignore_errors=True)
    for path in seeds, corpus, found:
        path.mkdir(parents=True, exist_ok=True)
    commands = [
        [program, f"--seeds={seeds}"],
        [program, f"-seed={seed}", f"-max_total_time={seconds}",
         f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MB}",
         f"-max_len={MAX_BYTES}",
         f"-artifact_prefix={found}/", "-print_final_stats=1",
         corpus, seeds, found]]
    output = ""
    for command in commands:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                errors="replace", timeout=seconds + GRACE_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            output += (error.stdout or b"").decode(errors="replace")
            return f"still running after {error.timeout} s", output, 0
        except OSError as error:
            return str(error), output, 0
        output += done.stdout
        if done.returncode:
            problem = f"ended with {done.returncode}"
            inputs = FOUND.findall(done.stdout)
            if inputs:
                problem += f"; to see it again: {program} {inputs[-1]}"
            return problem, output, 0

    runs = sum(map(int, RUNS.findall(output)))
    return None if runs else "it ran no input", output, runs


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("programs", nargs="+", type=pathlib.Path)
    args = parser.parse_args()

    def run(program):
        start = time.monotonic()
        result = fuzz(program, args.folder / program.name, args.seconds,
                      args.seed)
        return (program.name, *result, time.monotonic() - start)

    suite = ElementTree.Element("testsuite", name="fuzz")
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for name, problem, output, runs, seconds in pool.map(run,
                                                             args.programs):
            case = ElementTree.SubElement(suite, "testcase", classname="fuzz",
                                          name=name, time=f"{seconds:.3f}")
            if problem:
                failures += 1
                text = ElementTree.SubElement(case, "failure", message=problem)
                text.text = re.sub(r"[^\t\n\x20-\ud7ff]", "?", output)
                print(f"{output}\nFAIL {name}: {problem}", flush=True)
            else:
                print(f"ok   {name}: {runs} inputs, {seconds:.1f} s",
                      flush=True)
    args.report.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suite).write(args.report, "utf-8", True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
