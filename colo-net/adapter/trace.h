/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "trace/trace-colony_colo_net_adapter.h"
