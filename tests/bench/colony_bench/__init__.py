# SPDX-License-Identifier: GPL-2.0-or-later
"""
What all benchmarks share.  See docs/reference/benchmarks.rst.

  machine     which CPUs belong to which modelled host; what is measured on
  stats       percentiles
  report      rows, their JSON and their tables
  load        the load: a client that tells every latency
  checkpoints what a pair's trace says about its checkpoints
  syncs       the same for the syncs of a pair with x-plover
  services    a guest that serves all of them
  sync_report what bench-sync found, as rows and text
  sync_goals  what the syncs are to reach, and whether they do
  hash_pool   the speed of page hashing
  presets     what bench-presets compares, under which work
  preset_session
              one start of a preset: alone, a pair, or three replicas
  outages     how long clients wait when the leader dies
  preset_report, preset_goals, plots
              what bench-presets found, and whether that is enough
  options     options that name some of what there is
  traffic     bytes that a host has sent
  commits     entries that a group commits, beside bare TCP and libraft
  fio         the load on a disk
  disks       images, and QEMUs without a machine that serve them
  pairs       disks replicated in each way
  cells       a pair of disks under load, with checkpoints
  moments     one checkpoint or takeover of a pair of disks
  blk_report  what bench-blk found, as rows and text

Hosts, virtual machines and COLO pairs come from the system tests' library.
"""

import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / 'tests' / 'system'))
