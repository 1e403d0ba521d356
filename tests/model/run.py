#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""run.py [--long] [--jobs=N] FOLDER RESULTS.xml

Have spin look at every state of the models within small bounds, and write the
results as JUnit XML. The protocol has to hold; with one of its rules left out
it must not, or the model would not notice. --long: larger bounds, for an hour.
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

HERE = pathlib.Path(__file__).parent
DEPTH = 100000
FAILS = "a violation has to be found"

SMALL = "TERMS=3 ENTRIES=4 DEATHS=1 RESTARTS=0 INPUTS=1 PARTINGS=1"
MEMORY = "TERMS=3 ENTRIES=4 DEATHS=2 RESTARTS=1 INPUTS=1 PARTINGS=0"
DISK = "DISK TERMS=3 ENTRIES=4 DEATHS=1 RESTARTS=1 INPUTS=1 PARTINGS=0"
LOSS = "TERMS=3 ENTRIES=4 DEATHS=1 RESTARTS=0 INPUTS=1 PARTINGS=0 LOSSES=1"

# The whole protocol: lost outputs and torn VMs, without a lease; voices.
PAIR = "LEASELESS TERMS=2 EPOCHS=1 UNITS=2 ENTRIES=3"
PAIR2 = PAIR.replace("EPOCHS=1", "EPOCHS=2")
COMPARE = PAIR + " COMPARE"
ALONE = PAIR + " ALONE"
RESTART = PAIR.replace("UNITS=2", "UNITS=1") + " RESTARTS=1"
EARLY = ("LEASELESS TERMS=3 EPOCHS=1 UNITS=2 ENTRIES=4 REFUSALS=0 DEATHS=0 "
         "PARTINGS=0")
VOICE = "TERMS=2 EPOCHS=1 UNITS=2 ENTRIES=3 REFUSALS=0"

# What has to hold: name, model, definitions.
HOLDS = [
    ("no-restart", "apus", SMALL),
    ("memory", "apus", MEMORY),
    ("disk", "apus", DISK),
    ("lost-disk", "apus", LOSS),
    ("paired-again", "apus", "TERMS=3 ENTRIES=5 DEATHS=1 RESTARTS=1 INPUTS=0 "
     "PARTINGS=1 PAIRINGS=1"),
    ("progress-memory", "apus", "LIVE TERMS=4 ENTRIES=5 DEATHS=1 RESTARTS=1 "
     "INPUTS=1 PARTINGS=0"),
    ("progress-disk", "apus", "LIVE DISK TERMS=4 ENTRIES=5 DEATHS=1 "
     "RESTARTS=1 INPUTS=1 PARTINGS=0"),
    # A firewall that refuses in a leader's name endangers single voice alone.
    ("false-refusal-else", "apus", SMALL + " FALSE_REFUSAL ANY_VOICE"),
    ("members", "members", "TERMS=3"),
    ("protocol-pair", "protocol", PAIR),
    ("protocol-compare", "protocol", COMPARE),
    ("protocol-alone", "protocol", ALONE),
    ("protocol-restart", "protocol", RESTART),
    ("protocol-voice", "protocol", VOICE),
]

# What must not, with one rule left out.
BROKEN = [
    ("VOTE_UNSAVED", "apus", DISK),
    ("ROLE_UNSAVED", "apus", DISK.replace("PARTINGS=0", "PARTINGS=1")),
    ("APPEND_UNSAVED", "apus", DISK),
    ("ELIGIBLE_FIRST", "apus", SMALL),
    ("NO_ADOPTION", "apus", SMALL),
    ("EACH_VOTER", "apus", SMALL.replace("PARTINGS=1", "PARTINGS=0 LIVE")),
    ("OLD_TERM_COMMIT", "apus", "TERMS=4 ENTRIES=4 DEATHS=0 RESTARTS=0"),
    ("AMNESIAC_VOTES", "apus", MEMORY),
    ("AMNESIAC_ACKS", "apus", LOSS),
    ("AMNESIAC_ECHOES", "apus", LOSS),
    ("BLANK_UNCONFIRMED", "apus", LOSS),
    ("LIFE_IGNORED", "apus", MEMORY),
    ("INCARNATION_IGNORED", "apus", DISK),
    ("WITNESS_LEADS", "apus", SMALL),
    ("LEASE_FROM_ANSWER", "apus", SMALL),
    ("LEASE_UNPROMISED", "apus", SMALL),
    ("NO_QUARANTINE", "apus", DISK),
    ("SPEAKS_EARLY", "apus", SMALL.replace("TERMS=3", "TERMS=4")),
    ("CUT_MATCHING", "apus", SMALL),
    ("NO_PREV_CHECK", "apus", SMALL),
    ("FALSE_REFUSAL", "apus", SMALL),
    ("TWO_CHANGES", "members", "TERMS=3"),
    ("OLD_MEMBERS_ELECT", "members", "TERMS=3"),
    ("OWN_TERM_ADOPTED", "members", "TERMS=3"),
    ("R1_INCARNATION", "protocol", RESTART),
    ("R2_TESTED_FIRST", "protocol", PAIR),
    ("R2_NOT_ADOPTED", "protocol", PAIR),
    ("R3_EARLY", "protocol", EARLY),
    ("R9_UNASKED", "protocol", VOICE),
    ("R12_SEAL_IGNORED", "protocol", PAIR),
    ("R12_NONE_EARLY", "protocol", PAIR),
    ("R12_OLD_REPORT", "protocol", COMPARE),
    ("R12_UNTAGGED", "protocol", COMPARE),
    ("R14_COPY_LATE", "protocol", PAIR),
    ("R15_MEMORY_ALONE", "protocol", PAIR),
    ("R15_STANDING", "protocol", PAIR),
    ("R15_LOOKS_FIRST", "protocol", PAIR),
    ("R16_IN_PARTS", "protocol", PAIR),
    ("R16_STAGE_DROPPED", "protocol", PAIR),
    ("R18_NO_MERGE", "protocol", PAIR2),
    ("R18_NEXT_COMMIT", "protocol", PAIR2),
    ("R20_SEALED_APPLIED", "protocol", PAIR),
    ("R22_DISK_ALONE", "protocol", PAIR),
    ("R23_OLD_SESSION", "protocol", PAIR),
    ("R24_ROLE_EARLY", "protocol", ALONE),
    ("R24_HELD_LATE", "protocol", ALONE),
]

# Larger bounds. "bits": so many states that a part is looked at, for BITS
# minutes.
BITS = 15
LONG = [
    ("memory", "apus", "TERMS=4 ENTRIES=5 DEATHS=2 RESTARTS=1 INPUTS=1 "
     "PARTINGS=1"),
    ("disk-parted", "apus", "DISK TERMS=3 ENTRIES=4 DEATHS=2 RESTARTS=1 "
     "INPUTS=1 PARTINGS=1"),
    ("disk", "apus", "DISK TERMS=4 ENTRIES=4 DEATHS=2 RESTARTS=2 INPUTS=1 "
     "PARTINGS=0"),
    ("lost-disk", "apus", "TERMS=4 ENTRIES=4 DEATHS=2 RESTARTS=1 INPUTS=1 "
     "PARTINGS=0 LOSSES=1"),
    ("paired-again", "apus", "DISK TERMS=3 ENTRIES=5 DEATHS=2 RESTARTS=1 "
     "INPUTS=0 PARTINGS=1 PAIRINGS=1"),
    ("progress", "apus", "LIVE TERMS=4 ENTRIES=5 DEATHS=2 RESTARTS=2 "
     "INPUTS=2 PARTINGS=1 PAIRINGS=1"),
    ("members", "members", "TERMS=4"),
    ("protocol-pair", "protocol", PAIR2),
    ("protocol-compare", "protocol", PAIR2 + " COMPARE"),
    ("protocol-alone", "protocol", PAIR2 + " ALONE"),
    ("protocol-voice", "protocol", VOICE.replace("EPOCHS=1", "EPOCHS=2")),
    ("bits-protocol", "protocol", "LEASELESS COMPARE TERMS=3 EPOCHS=2 "
     "UNITS=2 ENTRIES=5 DEATHS=1 RESTARTS=1"),
    ("bits-disk", "apus", "DISK TERMS=4 ENTRIES=5 DEATHS=3 RESTARTS=2 "
     "INPUTS=2 PARTINGS=1 PAIRINGS=1"),
]


class Problem(Exception):
    """It could not be tried, or did not end as it has to."""


def call(command, folder, deadline):
    """What @command says; a Problem if it does not end well or in time."""
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            errors="replace", timeout=deadline, check=False)
    except subprocess.TimeoutExpired as error:
        raise Problem(f"{command[0]} still running after {deadline} s") \
            from error
    except OSError as error:
        raise Problem(str(error)) from error
    if done.returncode:
        raise Problem(f"{command[0]} ended with {done.returncode}\n"
                      f"{done.stdout[:4000]}")
    return done.stdout


def check(folder, name, model, definitions, args):
    """Look at one model; returns its number of states and the output."""
    folder = folder / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(HERE / f"{model}.pml", folder)
    defines = ["-D" + word for word in definitions.split()]
    storage = (["-DBITSTATE"] if name.startswith("bits") else
               ["-DCOLLAPSE", f"-DMEMLIM={8000 if args.long else 1500}"])
    call(["spin", "-a", *defines, f"{model}.pml"], folder, 60)
    # Compiling takes longer than most of the short searches.
    call(["gcc", "-O2" if args.long else "-O0", "-w", "-DSAFETY", "-DNOREDUCE",
          "-DVECTORSZ=256", *storage, "-o", "pan", "pan.c"], folder, 120)
    # The table has 2^w places, or bits.
    bits = name.startswith("bits")
    places = 20 if not args.long else 33 if bits else 26
    output = call(["./pan", "-E", "-n", f"-m{DEPTH}", f"-w{places}",
                   *([f"-Q{BITS}"] if bits else [])], folder, args.deadline)
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"^ *(\d\S*) states, stored", output, re.MULTILINE)
    if not errors or not states or "depth too small" in output or \
            (errors[1] == "0" and "Search not completed" in output and
             not bits):
        raise Problem(f"the search was not completed\n{output}")
    return int(errors[1]), int(float(states[1])), output


def judge(folder, broken, name, model, definitions, args):
    """(name, what is wrong or None, a line about it, seconds)"""
    start = time.monotonic()
    line, problem = "", None
    try:
        errors, states, output = check(
            folder, name, model,
            definitions + (" " + name if broken else ""), args)
        line = f"{states:,} states"
        found = re.search(r"pan:\d+: (.*)", output)
        if found:
            line += f", {found[1]}"
        if broken and not errors:
            problem = f"{FAILS}; the model does not notice\n{output}"
        elif not broken and errors:
            defines = " ".join("-D" + word for word in definitions.split())
            problem = (f"{line}\nto see how: cd {folder / name} && "
                       f"spin -t -p {defines} {model}.pml\n{output}")
    except Problem as error:
        problem = str(error)
    return name, problem, line, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--deadline", type=int, default=0)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("report", type=pathlib.Path)
    args = parser.parse_args()
    args.deadline = args.deadline or (3000 if args.long else 120)

    runs = ([(False, *run) for run in (LONG if args.long else HOLDS)] +
            [(True, *run) for run in (() if args.long else BROKEN)])
    suite = ElementTree.Element("testsuite", name="model")
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for (broken, *_), (name, problem, line, seconds) in zip(
                runs, pool.map(lambda run: judge(args.folder, *run, args),
                               runs)):
            case = ElementTree.SubElement(
                suite, "testcase", classname="mutation" if broken else "model",
                name=name, time=f"{seconds:.3f}")
            if problem:
                failures += 1
                text = ElementTree.SubElement(
                    case, "failure", message=problem.splitlines()[0])
                text.text = re.sub(r"[^\t\n\x20-\ud7ff]", "?", problem)
                print(f"FAIL {name}: {problem}", flush=True)
            else:
                print(f"ok   {name}: {line}, {seconds:.1f} s", flush=True)
    args.report.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suite).write(args.report, "utf-8", True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
