/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "trace/trace-colony_gannet_blk_adapter.h"
