/* core.h - the door of core: what every room stands on. Floor 0. */
#ifndef TRESS_CORE_CORE_H
#define TRESS_CORE_CORE_H
#include "core/arena.h"
#include "core/file.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/rng.h"
#include "core/sha256.h"
#include "core/status.h"
#include "core/sys.h"
#include "core/thread.h"
#endif
