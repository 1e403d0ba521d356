/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "trace/trace-colony_plover_sync_adapter.h"
